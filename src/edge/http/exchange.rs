//! Ordinary requests on one connection, one after the other: bodies read, answers written.
//!
//! Answers leave in the order of their requests. Posts that are gathered for a handler and came in one
//! breath are answered with one write, when Erlang has taken them; everything else is answered
//! before the next request is looked at. A request that may not be answered ends the connection,
//! after the answers to those before it: who could smuggle one in would be answered by the wrong
//! name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::Instant;

use super::body::{Chunks, Length};
use super::demo;
use super::gather::{Gatherer, Posts};
use super::line::Broken;
use super::order::{Order, Task};
use super::publish;
use super::refusal::Refusal;
use super::reply::{self, Manner};
use super::serve::Visit;
use super::visitor::Verdict;
use crate::edge::{Edge, Unasked};
use crate::metrics;
use crate::wire::{Answer, Ask, Request};

/// Posts of one connection that wait for their outcome: more are read when these are answered.
const POSTS_MAX: usize = 1000;

/// A body that is as long, or longer, keeps the memory that it was read into; a shorter one is copied
/// out of it.
const SHARED_BYTES_MIN: usize = 4096;

/// Bytes that a read asks for when much is expected.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Answers that wait to be written together.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// Posts that have been gathered and are not answered.
#[derive(Default)]
pub(in crate::edge) struct Run {
    gatherer: Option<Arc<Gatherer>>,
    manner: Option<Manner>,
    posts: Posts,
    count: usize,
}

/// Why a connection does not go on.
pub(in crate::edge) enum End {
    /// The client is gone, or has not taken its answers.
    Gone,
    /// It asked for what it may not.
    Refused(Refusal, Bytes),
}

/// A request is being answered while this lives.
struct Busy<'a>(&'a metrics::Gauge);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// Bodies that are being read, in bytes.
#[derive(Debug, Default)]
pub(in crate::edge) struct Bodies(AtomicUsize);

/// A part of them; dropping it gives it back.
struct Room<'a> {
    bodies: &'a Bodies,
    bytes: usize,
    bytes_max: usize,
}

impl Room<'_> {
    /// Has room for so many bytes from now on, as far as the limit of all bodies allows.
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        let used = self.bodies.0.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        match more > 0 && used + more > self.bytes_max {
            true => Err(Refusal::Unavailable(
                "too many request bodies at the same time",
            )),
            false => Ok(()),
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Visit {
    /// Answers this request and those that follow it, until one is no ordinary one; `None` when the
    /// connection is over.
    pub(in crate::edge) async fn answer(&mut self, first: Order) -> Option<Verdict> {
        let mut order = first;
        loop {
            match self.answer_all_here(order).await {
                Ok(Some(verdict)) => return Some(verdict),
                Ok(None) => {}
                Err(End::Gone) => return None,
                Err(End::Refused(refusal, cors)) => return Some(Verdict::Refuse(refusal, cors)),
            }
            match self.next_request().await? {
                Verdict::Answer(next) => order = next,
                verdict => return Some(verdict),
            }
        }
    }

    /// Answers this request and those that have come with it; answers a verdict on one of them that is
    /// no ordinary one.
    async fn answer_all_here(&mut self, first: Order) -> Result<Option<Verdict>, End> {
        let edge = self.edge.clone();
        edge.metrics().exchanges.add(1);
        let _busy = Busy(&edge.metrics().exchanges);
        let mut order = first;
        loop {
            let closes = order.manner.closes;
            let carried = self.carry_out(&edge, order).await;
            if let Err(End::Gone) = carried {
                return Err(End::Gone);
            }
            if closes || carried.is_err() {
                self.settle(closes && carried.is_ok()).await?;
                self.flush().await?;
                carried?;
                self.finish().await;
                return Err(End::Gone);
            }
            if self.buffer.is_empty() {
                break;
            }
            self.visitor.again();
            match self.visitor.judge(&edge, &self.buffer) {
                Some(Verdict::Answer(next)) => order = next,
                Some(verdict) => {
                    self.settle(false).await?;
                    self.flush().await?;
                    return Ok(Some(verdict));
                }
                None => break,
            }
        }
        self.settle(false).await?;
        self.flush().await?;
        Ok(None)
    }

    async fn carry_out(&mut self, edge: &Edge, mut order: Order) -> Result<(), End> {
        self.buffer.advance(order.head_bytes);
        if let Some(bearer) = order.bearer.take() {
            let checked = bearer.check(edge);
            let claims =
                checked.map_err(|refusal| End::Refused(refusal, order.manner.cors.clone()))?;
            if let Task::Ask(request) = &mut order.task {
                request.claims = Some(claims.to_wire());
            }
        }
        let Order { task, manner, .. } = &order;
        if let Task::Gather(handler) = task {
            if !self.run.goes_on_with(handler, manner) {
                self.settle(false).await?;
                self.run.gatherer = Some(edge.gatherers().of(handler));
                self.run.manner = Some(manner.clone());
            }
            if let Length::Known(bytes) = order.body
                && let Some(body) = usize::try_from(bytes)
                    .ok()
                    .and_then(|end| self.buffer.get(..end))
            {
                let taken = self.run.take(edge, body);
                let bytes = body.len();
                self.buffer.advance(bytes);
                return self.gathered(edge, taken).await;
            }
        } else {
            self.settle(false).await?;
        }
        let mut room = Room {
            bodies: edge.bodies(),
            bytes: 0,
            bytes_max: edge.config().bodies_bytes_max,
        };
        let body = self.body(edge, &order, &mut room).await?;
        let manner = order.manner;
        match order.task {
            Task::Gather(_) => {
                let taken = self.run.take(edge, &body);
                return self.gathered(edge, taken).await;
            }
            Task::Page => demo::page(&mut self.out, &manner),
            Task::Connections => demo::connections(edge, &mut self.out, &manner).await,
            Task::Fields(fields) => reply::write(&mut self.out, 204, &fields, b"", &manner),
            Task::Ask(mut request) => {
                request.body = body;
                self.have_answered(edge, *request, &manner).await?;
            }
            Task::Publish {
                mut request,
                is_json,
            } => {
                let query = String::from_utf8_lossy(&request.query);
                match publish::publication(is_json, &query, &body) {
                    Ok(publish) => request.publish = Some(publish),
                    Err(refusal) => return Err(End::Refused(refusal, manner.cors)),
                }
                self.have_answered(edge, *request, &manner).await?;
            }
        }
        edge.metrics().requests.increment();
        match self.out.len() > OUT_BYTES_MAX {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// After a post: what was not taken is answered at once, behind those before it.
    async fn gathered(&mut self, edge: &Edge, taken: Result<(), Unasked>) -> Result<(), End> {
        if let Err(unasked) = taken {
            let manner = self.run.manner.clone();
            self.settle(false).await?;
            let manner = manner.expect("a run has a manner");
            if let Err(refusal) = write_answer(&mut self.out, &Err(unasked), &manner) {
                edge.metrics().refused.of(refusal.label()).increment();
            }
            edge.metrics().requests.increment();
        } else if self.run.count >= POSTS_MAX {
            self.settle(false).await?;
            self.flush().await?;
        }
        Ok(())
    }

    async fn have_answered(
        &mut self,
        edge: &Edge,
        request: Request,
        manner: &Manner,
    ) -> Result<(), End> {
        // Whoever has an answer coming does not wait for the next one.
        self.flush().await?;
        let answer = edge.ask(Ask::Request(Arc::new(request))).await;
        if let Err(refusal) = write_answer(&mut self.out, &answer, manner) {
            edge.metrics().refused.of(refusal.label()).increment();
        }
        Ok(())
    }

    /// Waits for the outcome of the posts that were gathered, and answers them.
    async fn settle(&mut self, closes: bool) -> Result<(), End> {
        let Some(mut manner) = self.run.manner.take() else {
            return Ok(());
        };
        let mut left = std::mem::take(&mut self.run.count);
        self.edge.metrics().requests.add(left as u64);
        let mut posts = std::mem::take(&mut self.run.posts);
        for (outcome, count) in posts.drain(..) {
            let told = outcome.told().await;
            let mut answer = Vec::new();
            let mut written = Ok(());
            for nth in 0..count {
                left -= 1;
                if nth == 0 || closes && left == 0 {
                    manner.closes = closes && left == 0;
                    answer.clear();
                    written = write_answer(&mut answer, told, &manner);
                }
                self.out.extend_from_slice(&answer);
            }
            if let Err(refusal) = written {
                let refused = &self.edge.metrics().refused;
                refused.of(refusal.label()).add(count as u64);
            }
        }
        self.run.posts = posts;
        self.run.gatherer = None;
        Ok(())
    }

    /// The body of a request, which may still have to come.
    async fn body(
        &mut self,
        edge: &Edge,
        order: &Order,
        room: &mut Room<'_>,
    ) -> Result<Bytes, End> {
        let refused = |refusal| End::Refused(refusal, order.manner.cors.clone());
        let mut chunks = match order.body {
            Length::Known(0) => return Ok(Bytes::new()),
            Length::Known(_) => None,
            Length::Chunked => Some(Chunks::new(edge.config().body_bytes_max)),
        };
        let deadline = Instant::now() + edge.config().body_timeout;
        let mut has_waited = false;
        loop {
            let missing = match (&mut chunks, order.body) {
                (Some(chunks), _) => {
                    if chunks.take(&mut self.buffer).map_err(refused)? {
                        break;
                    }
                    room.grow(chunks.len()).map_err(refused)?;
                    READ_BYTES_MAX
                }
                (None, Length::Known(bytes)) => {
                    let bytes = usize::try_from(bytes).expect("it is within the limit");
                    if self.buffer.len() >= bytes {
                        break;
                    }
                    room.grow(bytes).map_err(refused)?;
                    bytes - self.buffer.len()
                }
                (None, Length::Chunked) => unreachable!("chunks are taken apart above"),
            };
            if !has_waited {
                has_waited = true;
                // Answers that are due do not wait for a body.
                self.settle_before_waiting().await?;
                if order.expects_continue && self.buffer.is_empty() {
                    self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                self.flush().await?;
            }
            let read = self
                .line
                .read(&mut self.buffer, missing.min(READ_BYTES_MAX));
            match self.patience.until(deadline, read).await {
                Some(Ok(())) => {}
                Some(Err(Broken::Gone | Broken::Tls(_))) => return Err(End::Gone),
                None => return Err(refused(Refusal::BodyTimeout)),
            }
        }
        Ok(match (chunks, order.body) {
            (None, Length::Known(bytes)) => {
                let bytes = usize::try_from(bytes).expect("it is within the limit");
                match bytes >= SHARED_BYTES_MIN {
                    true => self.buffer.split_to(bytes).freeze(),
                    false => {
                        let body = Bytes::copy_from_slice(&self.buffer[..bytes]);
                        self.buffer.advance(bytes);
                        body
                    }
                }
            }
            (chunks, _) => chunks.map(Chunks::into_body).unwrap_or_default().freeze(),
        })
    }

    /// Answers the posts before this one, which stays in their run.
    async fn settle_before_waiting(&mut self) -> Result<(), End> {
        let (gatherer, manner) = (self.run.gatherer.clone(), self.run.manner.clone());
        self.settle(false).await?;
        (self.run.gatherer, self.run.manner) = (gatherer, manner);
        Ok(())
    }

    /// Writes the answers so far.
    pub(in crate::edge) async fn flush(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        // As long as a body may take on its way in.
        let deadline = Instant::now() + self.edge.config().body_timeout;
        let written = self.line.write_all(&self.out);
        let written = self.patience.until(deadline, written).await;
        self.out.clear();
        if self.out.capacity() > OUT_BYTES_MAX {
            self.out = Vec::new();
        }
        match written {
            Some(Ok(())) => Ok(()),
            _ => Err(End::Gone),
        }
    }

    /// Waits for the next request and judges it; `None` when there is none.
    async fn next_request(&mut self) -> Option<Verdict> {
        let edge = self.edge.clone();
        self.visitor.again();
        if self.buffer.is_empty() {
            // A connection that waits keeps no memory to read into.
            self.buffer = BytesMut::new();
            let deadline = Instant::now() + edge.config().idle_timeout;
            let room = self.read_bytes;
            let read = self.line.read(&mut self.buffer, room);
            let read = self.patience.until(deadline, read);
            let read = tokio::select! {
                biased;
                read = read => read,
                _ = self.stop.wait_for(|stop| *stop) => None,
            };
            match read {
                Some(Ok(())) => {}
                Some(Err(_)) => return None,
                None => {
                    self.finish().await;
                    return None;
                }
            }
            if self.buffer.len() >= room {
                // Whoever says much at once is heard with fewer reads.
                self.read_bytes = (4 * room).min(READ_BYTES_MAX);
            }
        }
        let deadline = Instant::now() + edge.config().head_timeout;
        self.read_head(deadline).await
    }
}

impl Run {
    /// Whether a post for this handler that is to be answered like this is one more of them.
    fn goes_on_with(&self, handler: &crate::wire::Handler, manner: &Manner) -> bool {
        let like = |known: &Manner| known.is_old == manner.is_old && known.cors == manner.cors;
        let gatherer = self.gatherer.as_ref();
        gatherer.is_some_and(|gatherer| gatherer.handler() == handler)
            && self.manner.as_ref().is_some_and(like)
    }

    fn take(&mut self, edge: &Edge, body: &[u8]) -> Result<(), Unasked> {
        let gatherer = self.gatherer.as_ref().expect("a run has a gatherer");
        gatherer.take(edge, body, &mut self.posts)?;
        self.count += 1;
        Ok(())
    }
}

/// Writes what a handler answered, or that it did not: then it says which refusal that was.
fn write_answer(
    out: &mut Vec<u8>,
    answer: &Result<Answer, Unasked>,
    manner: &Manner,
) -> Result<(), Refusal> {
    let refusal = match answer {
        Ok(Answer::Taken) => {
            reply::write(out, 202, b"", b"", manner);
            return Ok(());
        }
        Ok(Answer::Reply {
            status,
            headers,
            body,
        }) => {
            reply::write_reply(out, *status, headers, body, manner);
            return Ok(());
        }
        Ok(Answer::Reject { status, reason }) => {
            reply::write_reject(out, *status, reason, manner);
            return Ok(());
        }
        Ok(Answer::Accept { .. }) => Refusal::BadAnswer,
        Err(unasked) => Refusal::from(*unasked),
    };
    reply::write_refusal(out, &refusal, manner);
    Err(refusal)
}
