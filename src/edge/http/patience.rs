//! How long a connection is waited for: one timer for all that is awaited of it, one after the other.
//!
//! A timer for each wait would cost more than the wait: a deadline that moves on leaves the timer
//! where it is, and only when it goes off is it looked whether the deadline has come.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of one connection.
#[derive(Debug)]
pub(in crate::edge) struct Patience {
    alarm: Pin<Box<Sleep>>,
}

impl Patience {
    pub(in crate::edge) fn new(first: Instant) -> Patience {
        Patience {
            alarm: Box::pin(sleep_until(first)),
        }
    }

    /// What `awaited` comes to; `None` when it has not by the deadline.
    pub(in crate::edge) async fn until<F: Future>(
        &mut self,
        deadline: Instant,
        awaited: F,
    ) -> Option<F::Output> {
        let mut awaited = pin!(awaited);
        poll_fn(|context| {
            if let Poll::Ready(output) = awaited.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if self.alarm.deadline() > deadline {
                self.alarm.as_mut().reset(deadline);
            }
            while self.alarm.as_mut().poll(context).is_ready() {
                if self.alarm.deadline() >= deadline {
                    return Poll::Ready(None);
                }
                self.alarm.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_wait_has_its_own_deadline() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            let now = Instant::now();
            let soon = now + Duration::from_millis(5);
            let far = now + Duration::from_secs(3600);
            // From a far deadline to a near one, and on to a later one than the timer has.
            let mut patience = Patience::new(far);
            assert_eq!(patience.until(far, ready(1)).await, Some(1));
            assert_eq!(patience.until(soon, pending::<()>()).await, None);
            let later = Instant::now() + Duration::from_millis(5);
            let told = patience.until(later, pending::<()>()).await;
            assert!(told.is_none() && Instant::now() >= later);
            assert_eq!(
                patience.until(far, tokio::task::yield_now()).await,
                Some(())
            );
        });
    }
}
