//! The queue as threads use it: what is taken and refused, in which order it comes, that nobody sleeps
//! over it, and that whatever it does not carry comes back.
//!
//! Deadlines only end a test that failed.

use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::*;
use crate::edge::credit::Ledger;
use crate::edge::newsfeed::Newsfeed;
use crate::edge::shard::WAKE;

const DEADLINE: Duration = Duration::from_secs(120);

fn queue(bytes_max: usize) -> (Arc<Queue>, Poll, Arc<Metrics>) {
    let poll = Poll::new().expect("there are descriptors");
    let waker = mio::Waker::new(poll.registry(), WAKE).expect("there are descriptors");
    let metrics = Arc::<Metrics>::default();
    let queue = Queue::new(waker, bytes_max, Arc::clone(&metrics));
    (Arc::new(queue), poll, metrics)
}

fn send(payload: usize) -> ShardCommand {
    send_as(1, vec![0; payload], None, None)
}

fn send_as(
    from: i64,
    payload: Vec<u8>,
    credit: Option<Credit>,
    answer: Option<Answer>,
) -> ShardCommand {
    ShardCommand::Send {
        ids: Ids::One(Id::Int(from)),
        message: Message::new(payload),
        credit,
        answer,
    }
}

fn payload(command: &ShardCommand) -> usize {
    match command {
        ShardCommand::Send { message, .. } => message.bytes(),
        _ => 0,
    }
}

/// All that waits, one by one.
fn taken(queue: &Queue) -> Vec<ShardCommand> {
    let mut loads = Vec::new();
    queue.take(&mut loads);
    let mut all = Vec::new();
    for load in loads {
        match load {
            Load::One(command) => all.push(command),
            Load::Many(mut commands) => {
                all.append(&mut commands);
                queue.keep(commands);
            }
        }
    }
    all
}

#[test]
fn a_queue_counts_what_a_batch_holds_and_refuses_what_does_not_fit() {
    let (queue, _poll, metrics) = queue(100_000);
    let mut batch = vec![send(10), send(10)];
    assert!(!queue.push_all(&mut batch, 60_000));
    assert!(batch.is_empty());
    let first = metrics.shard_queue_bytes.value();
    assert!((60_000..61_000).contains(&first), "{first}");
    // Too much together: the parts that fit are taken, in order.
    batch.extend([send(10), send(50_000), send(20)]);
    assert!(queue.push_all(&mut batch, 20_000));
    assert_eq!(batch.len(), 1);
    let payloads: Vec<usize> = taken(&queue).iter().map(payload).collect();
    assert_eq!(payloads, [10, 10, 10, 20]);
    assert_eq!(metrics.shard_queue_bytes.value(), 0);
    // An empty queue takes one command of any size.
    let mut batch = vec![send(200_000), send(10)];
    queue.push_all(&mut batch, 0);
    assert_eq!(batch.iter().map(payload).collect::<Vec<_>>(), [10]);
    // A queue that is closed takes nothing, and holds nothing.
    queue.close();
    assert_eq!(metrics.shard_queue_bytes.value(), 0);
    queue.push_all(&mut batch, 0);
    assert_eq!(batch.len(), 1);
    assert_eq!(queue.push_bounded(send(1)), Err(QueueFull));
}

#[test]
fn what_credit_covers_has_a_place_and_the_rest_has_one_when_it_is_empty() {
    let (queue, _poll, metrics) = queue(10_000);
    let ledger = Ledger::new(1_000_000, Arc::new(Newsfeed::new(10)));
    assert_eq!(queue.push_bounded(send(50_000)), Ok(()));
    assert_eq!(queue.push_bounded(send(1)), Err(QueueFull));
    let covered = || send_as(1, vec![0; 20_000], Some(ledger.take(20_000)), None);
    assert_eq!(queue.push_bounded(covered()), Ok(()));
    let mut batch = vec![send(1), covered(), send(2), covered()];
    assert!(queue.push_all(&mut batch, 0));
    assert_eq!(batch.iter().map(payload).collect::<Vec<_>>(), [1, 2]);
    let payloads: Vec<usize> = taken(&queue).iter().map(payload).collect();
    assert_eq!(payloads, [50_000, 20_000, 20_000, 20_000]);
    assert_eq!(
        (ledger.given(), metrics.shard_queue_bytes.value()),
        (60_000, 0)
    );
}

#[test]
fn the_memory_of_lists_serves_again_and_goes_when_nothing_comes() {
    let (queue, _poll, _) = queue(1 << 20);
    let carry = |batch: &mut Vec<ShardCommand>| {
        queue.push_all(batch, 0);
        let mut loads = Vec::new();
        queue.take(&mut loads);
        let Some(Load::Many(mut list)) = loads.pop() else {
            panic!("what comes together is a list");
        };
        let (at, length) = (list.as_ptr(), list.len());
        list.clear();
        queue.keep(list);
        (at, length)
    };
    let mut batch = vec![send(1), send(2)];
    let mine = batch.as_ptr();
    let first = carry(&mut batch);
    batch.extend([send(3), send(4)]);
    assert_eq!((carry(&mut batch), batch.as_ptr()), (first, mine));
    assert_eq!(queue.lists.len(), 1);
    assert_eq!(taken(&queue).len(), 0);
    assert_eq!(queue.lists.len(), 0);
    // A large one is not kept.
    batch = (0..LIST_KEPT_LEN + 1).map(send).collect();
    queue.push_all(&mut batch, 0);
    assert_eq!(taken(&queue).len(), LIST_KEPT_LEN + 1);
    assert_eq!(queue.lists.len(), 0);
}

/// A shard that only counts: sleeps, wakes and takes as the real one does, until `Stop`.
fn shard(
    queue: Arc<Queue>,
    mut poll: Poll,
    mut heard: impl FnMut(ShardCommand) + Send + 'static,
) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut events = Events::with_capacity(8);
        let (mut is_stopping, mut sleeps) = (false, 0);
        while !is_stopping {
            // Nobody comes to help who is not woken.
            let longest = queue.may_sleep().then_some(DEADLINE * 10);
            sleeps += u64::from(longest.is_some());
            let polled = poll.poll(&mut events, longest.or(Some(Duration::ZERO)));
            polled.expect("nothing interrupts a test");
            queue.slept();
            for command in taken(&queue) {
                match command {
                    ShardCommand::Stop => is_stopping = true,
                    command => heard(command),
                }
            }
        }
        queue.close();
        sleeps
    })
}

/// Each push meets a shard that is about to sleep: what was pushed before has just been heard. Who pushes
/// spins until then, a few steps more or less, because waking it would take longer than falling asleep.
#[test]
fn nobody_sleeps_over_what_comes_as_it_falls_asleep() {
    const ROUNDS: u64 = 50_000;
    for producers in [1, 3] {
        let (queue, poll, _) = queue(1 << 20);
        let heard: Arc<Vec<AtomicU64>> =
            Arc::new((0..producers).map(|_| AtomicU64::new(0)).collect());
        let hears = Arc::clone(&heard);
        let running = shard(Arc::clone(&queue), poll, move |command| {
            if let ShardCommand::Send {
                ids: Ids::One(Id::Int(from)),
                ..
            } = command
            {
                let from = usize::try_from(from).expect("they are numbered");
                hears[from].fetch_add(1, Ordering::Release);
            }
        });
        let push = |from: i64| {
            let (queue, heard) = (Arc::clone(&queue), Arc::clone(&heard));
            std::thread::spawn(move || {
                let heard = &heard[usize::try_from(from).expect("they are numbered")];
                for round in 0..ROUNDS {
                    if round % 2 == 0 {
                        queue.push(send_as(from, Vec::new(), None, None));
                    } else {
                        queue.push_all(&mut vec![send_as(from, Vec::new(), None, None)], 0);
                    }
                    let (began, mut spins) = (Instant::now(), 0_u32);
                    while heard.load(Ordering::Acquire) <= round {
                        spins += 1;
                        std::hint::spin_loop();
                        if spins.is_multiple_of(10_000) {
                            assert!(began.elapsed() < DEADLINE, "the shard sleeps over {round}");
                            // It may need this core.
                            std::thread::yield_now();
                        }
                    }
                    (0..round % 128).for_each(|_| std::hint::spin_loop());
                }
            })
        };
        let pushing: Vec<_> = (0..producers).map(push).collect();
        for thread in pushing {
            thread.join().expect("no wake was lost");
        }
        queue.push(ShardCommand::Stop);
        assert!(running.join().expect("it ends in order") > 0);
    }
}

/// Comes back when it is carried out, refused or lost.
struct Token(Arc<AtomicU64>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn many_threads_keep_their_order_and_lose_nothing_though_the_queue_closes_among_them() {
    const EACH: u64 = 30_000;
    const PRODUCERS: i64 = 4;
    let (queue, poll, metrics) = queue(20_000);
    let ledger = Ledger::new(3_000, Arc::new(Newsfeed::new(10)));
    let (made, back) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let lent = Arc::new(AtomicU64::new(0));
    let mut last = vec![0; usize::try_from(PRODUCERS).expect("few")];
    let mut carried = 0;
    let stopper = Arc::clone(&queue);
    let running = shard(Arc::clone(&queue), poll, move |command| {
        let ShardCommand::Send {
            ids: Ids::One(Id::Int(from)),
            message,
            ..
        } = command
        else {
            panic!("only sends are pushed");
        };
        let number = u64::from_le_bytes(message.payload[..8].try_into().expect("it has a number"));
        let before = &mut last[usize::try_from(from).expect("they are numbered")];
        assert!(*before < number, "{from}: {number} after {before}");
        *before = number;
        carried += 1;
        if carried == EACH * 2 {
            stopper.push(ShardCommand::Stop);
        }
    });
    let push = |from: i64| {
        let (queue, ledger) = (Arc::clone(&queue), Arc::clone(&ledger));
        let (made, back) = (Arc::clone(&made), Arc::clone(&back));
        let lent = Arc::clone(&lent);
        std::thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(u64::try_from(from).expect("not below zero"));
            let mut command = |number: u64| {
                made.fetch_add(1, Ordering::SeqCst);
                let token = Token(Arc::clone(&back));
                let credit = random.bool().then(|| ledger.take(100));
                lent.fetch_add(if credit.is_some() { 100 } else { 0 }, Ordering::SeqCst);
                let mut payload = number.to_le_bytes().to_vec();
                payload.resize(8 + random.usize(..500), 0);
                let answer: Answer = Box::new(move |_| drop(token));
                send_as(from, payload, credit, Some(answer))
            };
            let mut number = 0;
            while number < EACH {
                number += 1;
                match number % 3 {
                    // Refused or not: it comes back.
                    0 => drop(queue.push_bounded(command(number))),
                    1 => queue.push(command(number)),
                    _ => {
                        let mut batch: Vec<_> = (number..number + 5).map(&mut command).collect();
                        number += 4;
                        queue.push_all(&mut batch, 64);
                    }
                }
            }
        })
    };
    let pushing: Vec<_> = (0..PRODUCERS).map(push).collect();
    for thread in pushing {
        thread.join().expect("pushing never fails");
    }
    // Should so much have been refused that the shard has not come that far.
    queue.push(ShardCommand::Stop);
    running.join().expect("the order is kept");
    let made = made.load(Ordering::SeqCst);
    assert_eq!(back.load(Ordering::SeqCst), made, "answers of sends");
    assert_eq!(ledger.given(), lent.load(Ordering::SeqCst));
    assert_eq!(metrics.shard_queue_bytes.value(), 0);
    assert_eq!(queue.bytes.load(Ordering::SeqCst), 0);
}
