//! Years of one certificate in no time: what is ordered when, by a clock that only waits move.

use std::sync::{LazyLock, Mutex};

use super::*;
use crate::control::acme::plan::Validity;
use crate::control::acme::tests::{DAY, listening, open, order, pem};
use crate::model::intent::{Intent, Protocol};
use crate::model::live::Live;

/// Day 20,000 since 1970, when a test's first clock is read.
const BEGIN: i64 = 20_000 * DAY;

thread_local! {
    static START: std::cell::OnceCell<Instant> = const { std::cell::OnceCell::new() };
}

/// A wall clock that moves with tokio's: each test has a thread of its own.
fn now() -> i64 {
    let start = START.with(|start| *start.get_or_init(Instant::now));
    BEGIN + i64::try_from(start.elapsed().as_secs()).unwrap()
}

fn no_chance() -> f64 {
    0.0
}

/// Certificates of this many days, parsed once: making keys takes real time.
fn issued(from: i64, seconds: i64) -> Issued {
    static MADE: LazyLock<Issued> =
        LazyLock::new(|| Issued::parse(pem(&["a.test"], 1..2).as_bytes(), &order(&["a.test"])).unwrap());
    Issued { validity: Validity { not_before: from, not_after: from + seconds }, ..MADE.clone() }
}

type Script = Box<dyn Fn(usize) -> Result<i64, Failure> + Send + Sync>;

/// An authority that does what a test says at each order, and notes when it was asked.
struct Scripted {
    script: Script,
    window: Option<Window>,
    orders: Mutex<Vec<(i64, Challenge)>>,
}

impl Authority for Scripted {
    async fn order(&self, _: &Order, way: Challenge) -> Result<Issued, Failure> {
        let mut orders = self.orders.lock().unwrap();
        orders.push((now() - BEGIN, way));
        (self.script)(orders.len()).map(|seconds| issued(now(), seconds))
    }

    async fn window(&self, _: &Order, _: &Issued) -> Option<(Window, Duration)> {
        self.window.map(|window| (window, Duration::from_secs(1)))
    }
}

struct Story {
    live: Live,
    authority: Arc<Scripted>,
    doors: watch::Sender<Doors>,
    events: mpsc::Receiver<Event>,
    _task: tokio::task::JoinSet<()>,
}

fn refused(reason: &str) -> Failure {
    Failure { reason: reason.to_owned(), was_refused: true, retry_after: None }
}

impl Story {
    fn begin(
        intent: &Intent,
        held: Option<Issued>,
        window: Option<Window>,
        script: impl Fn(usize) -> Result<i64, Failure> + Send + Sync + 'static,
    ) -> Self {
        let live = Live::new(1);
        now();
        let authority = Arc::new(Scripted { script: Box::new(script), window, orders: Mutex::default() });
        let doors = watch::Sender::new(Doors::of(intent, &live));
        let (sender, events) = mpsc::channel(1000);
        let follow = Follow {
            order: Arc::new(order(&["a.test"])),
            held,
            authority: authority.clone(),
            doors: doors.subscribe(),
            now,
            draw: no_chance,
            events: sender,
        };
        let mut task = tokio::task::JoinSet::new();
        task.spawn(follow.run());
        Self { live, authority, doors, events, _task: task }
    }

    /// With an http and an https listener, both open.
    fn open(
        held: Option<Issued>,
        window: Option<Window>,
        script: impl Fn(usize) -> Result<i64, Failure> + Send + Sync + 'static,
    ) -> Self {
        let intent = both();
        let story = Self::begin(&intent, held, window, script);
        intent.listeners.keys().for_each(|key| open(&story.live, *key));
        story
    }

    async fn wait(&self, seconds: i64) {
        sleep(Duration::from_secs(u64::try_from(seconds).unwrap())).await;
    }

    /// The seconds at which orders were made.
    fn orders(&self) -> Vec<i64> {
        self.authority.orders.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    fn told(&mut self) -> Option<Standing> {
        match self.events.try_recv() {
            Ok(Event::Acme(told)) => Some(told.standing),
            _ => None,
        }
    }
}

fn both() -> Intent {
    listening(&[(Protocol::Http, 80), (Protocol::Https, 443)])
}

#[tokio::test(start_paused = true)]
async fn a_first_order_is_made_at_once_and_renewed_at_two_thirds_for_ever() {
    let mut story = Story::open(None, None, |_| Ok(90 * DAY));
    story.wait(200 * DAY).await;
    assert_eq!(story.orders(), [0, 60 * DAY, 120 * DAY, 180 * DAY]);
    assert!(story.told().unwrap().cert.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_had_is_not_ordered_again() {
    let held = issued(BEGIN - 10 * DAY, 90 * DAY);
    let mut story = Story::open(Some(held), None, |_| Ok(90 * DAY));
    story.wait(49 * DAY).await;
    assert!(story.orders().is_empty() && story.told().is_none());
    story.wait(2 * DAY).await;
    assert_eq!(story.orders(), [50 * DAY]);
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_had_and_is_over_is_ordered_at_once() {
    let story = Story::open(Some(issued(BEGIN - 100 * DAY, 90 * DAY)), None, |_| Ok(90 * DAY));
    story.wait(1).await;
    assert_eq!(story.orders(), [0]);
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_in_turns_of_both_ways_and_say_why_while_the_old_one_is_served() {
    let held = issued(BEGIN - 60 * DAY, 90 * DAY);
    let mut story = Story::open(Some(held), None, |n| if n < 5 { Err(refused(&format!("no {n}"))) } else { Ok(DAY) });
    story.wait(3 * 3600).await;
    assert_eq!(story.orders(), [0, 120, 480, 1560, 4800]);
    let ways: Vec<_> = story.authority.orders.lock().unwrap().iter().map(|(_, way)| *way).collect();
    use Challenge::{Http01, TlsAlpn01};
    assert_eq!(ways, [Http01, TlsAlpn01, Http01, TlsAlpn01, Http01]);
    for n in 1..5 {
        let told = story.told().unwrap();
        assert_eq!(told.trouble, Some(format!("no {n}")));
        assert!(told.cert.is_some(), "what is held goes on");
    }
    assert_eq!(story.told().unwrap().trouble, None);
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_is_away_is_asked_again_soon_and_one_that_asks_for_time_gets_it() {
    let story = Story::open(None, None, |n| match n {
        1 | 2 => Err(Failure { was_refused: false, ..refused("connection refused") }),
        3 => Err(Failure { retry_after: Some(Duration::from_secs(36 * 3600)), ..refused("rateLimited") }),
        _ => Ok(90 * DAY),
    });
    story.wait(3 * DAY).await;
    assert_eq!(story.orders(), [0, 5, 20, 20 + 36 * 3600]);
}

#[tokio::test(start_paused = true)]
async fn the_authority_says_when_to_renew() {
    let window = Window { start: BEGIN + 30 * DAY, end: BEGIN + 31 * DAY };
    let story = Story::open(None, Some(window), |_| Ok(90 * DAY));
    story.wait(30 * DAY + 1).await;
    assert_eq!(story.orders(), [0, 30 * DAY]);
}

#[tokio::test(start_paused = true)]
async fn nothing_makes_it_order_without_end() {
    // A window that is always past.
    let story = Story::open(None, Some(Window { start: 0, end: 1 }), |_| Ok(90 * DAY));
    story.wait(10 * DAY + 60).await;
    assert_eq!(story.orders().len(), 11, "one a day");
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_a_listener_that_is_open_and_says_so() {
    let intent = both();
    let mut story = Story::begin(&intent, None, None, |_| Ok(90 * DAY));
    story.wait(4).await;
    assert!(story.told().is_none(), "sockets may take their time");
    story.wait(60).await;
    let trouble = story.told().unwrap().trouble.unwrap();
    assert!(trouble.starts_with("no listener is open that could prove the names"), "{trouble}");
    assert!(story.orders().is_empty() && story.told().is_none(), "said once");
    let https = *intent.listeners.keys().find(|key| key.address.port() == 443).unwrap();
    open(&story.live, https);
    story.wait(10).await;
    assert_eq!(story.authority.orders.lock().unwrap()[0].1, Challenge::TlsAlpn01);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_comes_later_is_seen() {
    let story = Story::begin(&Intent::default(), None, None, |_| Ok(90 * DAY));
    story.wait(60).await;
    let intent = listening(&[(Protocol::Http, 8080)]);
    story.doors.send_replace(Doors::of(&intent, &story.live));
    intent.listeners.keys().for_each(|key| open(&story.live, *key));
    story.wait(6).await;
    assert_eq!(story.orders().len(), 1);
}
