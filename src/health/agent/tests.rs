//! A real agent on a real port, and what becomes of its words.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;
use crate::model::live::{AgentKey, BackendKey, Live};

/// Asks once each of these answers of one agent, in turn; an empty one hangs up.
async fn say(answers: &[&[u8]]) -> Arc<AgentState> {
    let live = Live::new(1);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let agent = Agent { port, every: Duration::from_secs(1) };
    // Nothing listens at the backend itself: the agent is asked all the same.
    let backend = BackendKey { address: ([127, 0, 0, 1], 9).into(), instance: "".into() };
    let state = live.agent(&AgentKey { backend: backend.clone(), agent: agent.clone() });
    let permits = Arc::new(Semaphore::new(1));
    let asking = Asking { backend: backend.address, agent, state: state.clone(), permits };
    for answer in answers {
        let speak = async {
            let (mut stream, _) = socket.accept().await.unwrap();
            // Who has heard enough may have left.
            let _ = stream.write_all(answer).await;
        };
        let (said, ()) = tokio::join!(asking.ask(), speak);
        said.into_iter().for_each(|said| asking.take(said));
    }
    state
}

#[tokio::test]
async fn words_stand_until_their_opposite_is_said() {
    let state = say(&[b"drain # going\n", b"up 50%\n"]).await;
    assert_eq!((state.objection(), state.percent()), (Some(Objection::Drain), 50), "up is not ready");
    assert_eq!(state.why(), None);
    let state = say(&[b"maint\n", b"ready down # disk full\n"]).await;
    assert_eq!((state.objection(), state.why().as_deref()), (Some(Objection::Down), Some("disk full")));
    let state = say(&[b"down maxconn:7\r\n", b"up\n"]).await;
    assert_eq!((state.objection(), state.max_connections()), (None, Some(7)));
}

#[tokio::test]
async fn who_says_nothing_changes_nothing() {
    let state = say(&[b"down\n", b"", b"\n", b"HTTP/1.1 200 OK\r\nup\n", &[b'x'; 4096]]).await;
    assert_eq!(state.objection(), Some(Objection::Down));
    let state = say(&[b"drain"]).await;
    assert_eq!(state.objection(), Some(Objection::Drain), "an end ends a line too");
    let state = say(&[b"up\nmaint\n"]).await;
    assert_eq!(state.objection(), None, "one line");
}

#[tokio::test]
async fn an_agent_that_is_not_there_or_never_ends_has_no_opinion() {
    let live = Live::new(1);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = Agent { port: socket.local_addr().unwrap().port(), every: Duration::from_millis(100) };
    let backend = BackendKey { address: ([127, 0, 0, 1], 9).into(), instance: "".into() };
    let state = live.agent(&AgentKey { backend: backend.clone(), agent: agent.clone() });
    let permits = Arc::new(Semaphore::new(1));
    let asking = Asking { backend: backend.address, agent, state, permits };
    assert_eq!(asking.ask().await, None, "silent");
    drop(socket);
    assert_eq!(asking.ask().await, None, "gone");
}
