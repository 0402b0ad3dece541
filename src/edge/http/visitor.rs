//! A connection that may have its request read, and the verdict on what it asks for.
//!
//! The one judge of heads: it reads no socket and writes to none. Bytes in, a verdict out, whether
//! they were there at the accept (`listener`) or came later (`serve`).

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::OwnedSemaphorePermit;

use super::bearer::Bearer;
use super::order::{self, Order};
use super::refusal::Refusal;
use super::reply::{Manner, write_fields};
use super::route::Access;
use super::routing::{Destination, find};
use super::{asking, greeting, head, upgrade};
use crate::edge::door::addresses::Guest;
use crate::edge::door::permit::Permit;
use crate::edge::door::tls::TlsRules;
use crate::edge::shard::queue::Adoption;
use crate::edge::shard::session::Session;
use crate::edge::{Config, Edge};
use crate::hub::{self, Cursor, Framing, NoCursor, WhenFull};
use crate::websocket::Greeting;
use crate::wire::{AcceptOptions, Handler, Heartbeat, Id, Kind, Request};

/// Who it is, as far as is known.
pub(in crate::edge) struct Visitor {
    /// The address that the socket has.
    pub(in crate::edge) peer: Option<SocketAddr>,
    /// The client's address by a proxy's word.
    pub(in crate::edge) forwarded: Option<SocketAddr>,
    /// The last address that is known is a proxy of ours: whose connection it is, is still to be
    /// said.
    pub(in crate::edge) is_proxied: bool,
    /// Its place among those of its address, when they are counted and it is known.
    pub(in crate::edge) guest: Option<Guest>,
    /// What it says begins with a header of the PROXY protocol.
    pub(in crate::edge) has_proxy_header: bool,
    /// What it says is TLS.
    pub(in crate::edge) tls: Option<TlsRules>,
    /// Its place among the heads that are being read.
    pub(in crate::edge) head: Option<OwnedSemaphorePermit>,
    /// Its place among the connections, once an ordinary request has been answered on it.
    pub(in crate::edge) permit: Option<Permit>,
    /// The client and whether it is a proxy, as the connection says and not one of its requests.
    pub(in crate::edge) by_connection: (Option<SocketAddr>, bool),
}

/// What becomes of a connection.
pub(in crate::edge) enum Verdict {
    /// A shard holds it.
    Hold(Place),
    /// Its handler decides.
    Ask(Box<Inquiry>),
    /// Its token decides.
    Check(Box<Guarded>),
    /// It is an ordinary request.
    Answer(Order),
    /// It is refused. The fields are for scripts of other sites.
    Refuse(Refusal, Bytes),
}

/// Where and how a connection is held.
pub(in crate::edge) struct Place {
    pub(in crate::edge) id: Id,
    framing: Framing,
    when_full: WhenFull,
    handler: Option<Handler>,
    /// What a handler adds to the answer's head.
    fields: Vec<(Bytes, Bytes)>,
    heartbeat: Option<Heartbeat>,
    after: After,
    /// Fields for scripts of other sites.
    cors: Bytes,
    upgrade: Option<Upgrade>,
    permit: Permit,
}

/// What makes it a WebSocket.
struct Upgrade {
    greeting: Greeting,
    /// What it has sent behind its request.
    ahead: Bytes,
}

/// How far the client of a poll has got.
type After = Option<Result<Cursor, NoCursor>>;

/// A connection that is held if its handler accepts it.
pub(in crate::edge) struct Inquiry {
    /// What the handler is told.
    pub(in crate::edge) request: Arc<Request>,
    framing: Framing,
    when_full: WhenFull,
    after: After,
    /// How it is answered when it is not accepted.
    pub(in crate::edge) manner: Manner,
    upgrade: Option<Upgrade>,
    /// Its place, while the handler thinks: so that it finds one when it is accepted.
    permit: Permit,
}

/// A connection that is held if its token is good.
pub(in crate::edge) struct Guarded {
    bearer: Bearer,
    framing: Framing,
    when_full: WhenFull,
    handler: Option<Handler>,
    after: After,
    /// Fields for scripts of other sites.
    pub(in crate::edge) cors: Bytes,
    upgrade: Option<Upgrade>,
    permit: Permit,
}

impl Guarded {
    /// Where it is held, by its token.
    pub(in crate::edge) fn check(self, edge: &Edge) -> Result<Place, Refusal> {
        let id = self.bearer.check(edge)?.id;
        Ok(Place {
            id,
            framing: self.framing,
            when_full: self.when_full,
            handler: self.handler,
            fields: Vec::new(),
            heartbeat: None,
            after: self.after,
            cors: self.cors,
            upgrade: self.upgrade,
            permit: self.permit,
        })
    }
}

impl Inquiry {
    /// The handler has accepted it.
    pub(in crate::edge) fn accepted(
        self,
        handler: Handler,
        id: Id,
        options: AcceptOptions,
    ) -> Place {
        Place {
            id,
            framing: self.framing,
            when_full: options.when_full.unwrap_or(self.when_full),
            handler: Some(handler),
            fields: options.headers,
            heartbeat: options.heartbeat,
            after: self.after,
            cors: self.manner.cors,
            upgrade: self.upgrade,
            permit: self.permit,
        }
    }
}

impl Visitor {
    /// Judges the request at the beginning of `read`; `None` when its head is not complete yet.
    pub(in crate::edge) fn judge(&mut self, edge: &Edge, read: &[u8]) -> Option<Verdict> {
        let config = edge.config();
        let bytes_max = config.head_bytes_max;
        let mut cors = Bytes::new();
        let verdict = match head::parse(read) {
            Ok(None) if read.len() <= bytes_max => return None,
            Ok(Some(head)) if head.length <= bytes_max => {
                cors = config.cors.fields(head.origin);
                self.answer(edge, &config, &head, read, &cors)
            }
            Ok(_) => Err(Refusal::HeadTooLarge),
            Err(refusal) => Err(refusal),
        };
        Some(verdict.unwrap_or_else(|refusal| Verdict::Refuse(refusal, cors)))
    }

    fn answer(
        &mut self,
        edge: &Edge,
        config: &Config,
        head: &head::Head<'_>,
        read: &[u8],
        cors: &Bytes,
    ) -> Result<Verdict, Refusal> {
        let found = find(head, &config.routes, config.demo)?;
        self.has_forwarded(edge, &head.forwarded_for)?;
        let peer = self.forwarded.or(self.peer);
        let mut manner = Manner {
            is_head: head.method == "HEAD",
            is_old: head.is_http10,
            closes: !head.is_persistent || edge.is_stopping(),
            cors: cors.clone(),
        };
        if let Some(task) = order::task(config, &found, head, read, peer)? {
            let bearer = order::bearer(&found, &task, head, read)?;
            let order = Order::new(config, task, bearer, head, manner)?;
            self.permit = Some(self.permit(edge)?);
            return Ok(Verdict::Answer(order));
        }
        let Destination::Held { route, id } = found else {
            return Err(Refusal::NotFound);
        };
        let upgrade = (route.kind == Kind::Websocket)
            .then(|| upgrade::upgrade(head, &route, config))
            .transpose()?;
        let framing = match (&upgrade, route.kind) {
            (Some(greeting), _) => Framing::websocket(greeting.deflate),
            (None, Kind::Poll) => Framing::Poll,
            _ => framing(head),
        };
        let upgrade = upgrade.map(|greeting| Upgrade {
            greeting,
            ahead: Bytes::copy_from_slice(&read[head.length..]),
        });
        let after = after(head.query);
        let when_full = route.when_full.unwrap_or(config.when_full);
        if route.access == Access::Token {
            return Ok(Verdict::Check(Box::new(Guarded {
                bearer: Bearer::new(head, read, id),
                framing,
                when_full,
                handler: route.handler.clone(),
                after,
                upgrade,
                cors: manner.cors,
                permit: self.permit(edge)?,
            })));
        }
        if let Some(id) = id {
            return Ok(Verdict::Hold(Place {
                id,
                framing,
                when_full,
                handler: route.handler.clone(),
                fields: Vec::new(),
                heartbeat: None,
                after,
                upgrade,
                cors: manner.cors,
                permit: self.permit(edge)?,
            }));
        }
        let handler = route.handler.as_ref().ok_or(Refusal::NotFound)?;
        manner.closes = true;
        Ok(Verdict::Ask(Box::new(Inquiry {
            request: Arc::new(asking::request(head, read, &route, handler, peer)?),
            framing,
            when_full,
            after,
            upgrade,
            manner,
            permit: self.permit(edge)?,
        })))
    }

    /// Its place among the connections, which it may have already.
    fn permit(&mut self, edge: &Edge) -> Result<Permit, Refusal> {
        let guest = self.guest.take();
        match self.permit.take() {
            Some(mut permit) => {
                if guest.is_some() {
                    permit.change_guest(guest);
                }
                Ok(permit)
            }
            None => edge.permits().acquire(guest).ok_or(Refusal::CONNECTIONS),
        }
    }

    /// What is known now, the connection says: all its requests are this client's, or that proxy's.
    pub(in crate::edge) fn is_known(&mut self) {
        self.by_connection = (self.forwarded, self.is_proxied);
    }

    /// Another request may follow; behind a proxy it may be another client's.
    pub(in crate::edge) fn again(&mut self) {
        let (forwarded, is_proxied) = self.by_connection;
        if is_proxied {
            self.forwarded = forwarded;
            self.is_proxied = true;
            if let Some(permit) = &mut self.permit {
                permit.change_guest(None);
            }
        }
    }

    /// Whose connection it is by the word of a proxy that we trust. An error is the limit of that
    /// address.
    pub(in crate::edge) fn is_from(
        &mut self,
        edge: &Edge,
        client: SocketAddr,
    ) -> Result<(), Refusal> {
        self.forwarded = Some(client);
        self.is_proxied = edge.config().trusted_proxies.has(client.ip());
        if !self.is_proxied {
            let entered = edge.permits().addresses().enter(client.ip());
            self.guest = entered.map_err(|_full| {
                edge.metrics().address_limit.increment();
                Refusal::ADDRESS
            })?;
        }
        Ok(())
    }

    /// The same from what fields of the request say, if whoever sent it is such a proxy.
    fn has_forwarded(&mut self, edge: &Edge, forwarded_for: &[u8]) -> Result<(), Refusal> {
        let config = edge.config();
        let trust = &config.trusted_proxies;
        let proxy = self.forwarded.or(self.peer);
        match trust.client_behind(proxy, std::iter::once(forwarded_for)) {
            Some(client) if self.is_proxied => self.is_from(edge, client),
            _ => Ok(()),
        }
    }

    /// What the shard is handed.
    pub(in crate::edge) fn adoption(
        &self,
        edge: &Edge,
        place: Place,
        socket: TcpStream,
        session: Option<Box<Session>>,
    ) -> Adoption {
        let (framing, retry) = (place.framing, edge.config().retry);
        let (random, now) = (fastrand::f64(), SystemTime::now());
        let poll = (framing == Framing::Poll).then(|| poll(edge, &place, random));
        let (fields, cors) = (&place.fields, &place.cors);
        let (greeting, ahead) = match place.upgrade {
            Some(Upgrade { greeting, ahead }) => {
                (greeting::upgraded(&greeting, fields, now), ahead)
            }
            None => {
                let greeting = greeting::greeting(framing, retry, fields, cors, random, now);
                (greeting, Bytes::new())
            }
        };
        Adoption {
            socket,
            session,
            peer: self.peer,
            forwarded: self.forwarded,
            id: place.id,
            framing,
            when_full: place.when_full,
            handler: place.handler,
            heartbeat: place.heartbeat,
            poll,
            greeting,
            ahead,
            permit: place.permit,
        }
    }
}

/// What the shard is asked by a poll. `random`, between 0 and 1, spreads those that came together.
fn poll(edge: &Edge, place: &Place, random: f64) -> Box<hub::Ask> {
    let mut fields = Vec::new();
    write_fields(&mut fields, &place.fields, &place.cors);
    Box::new(hub::Ask {
        after: place.after,
        wait: edge.config().poll_timeout.mul_f64(0.8 + 0.4 * random),
        key: poll_key(),
        fields: fields.into(),
    })
}

/// What nobody can guess.
fn poll_key() -> u64 {
    let mut key = [0; 8];
    // The system has had randomness since it started, or TLS would not have begun either.
    let filled = SystemRandom::new().fill(&mut key);
    filled.expect("the system has randomness");
    u64::from_ne_bytes(key)
}

/// The cursor in a query; one that is none is for the shard to say.
fn after(query: &str) -> After {
    let mut parts = query.split('&');
    let text = parts.find_map(|part| part.strip_prefix("after="))?;
    (!text.is_empty()).then(|| text.parse())
}

/// How a stream is framed for this client.
fn framing(head: &head::Head<'_>) -> Framing {
    match (head.accepts_events, head.is_http10) {
        (false, false) => Framing::Chunked,
        (true, false) => Framing::ChunkedSse,
        (false, true) => Framing::Plain,
        (true, true) => Framing::PlainSse,
    }
}
