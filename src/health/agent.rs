//! Asks backends for their own opinion: connects to their agent and reads one line. What cannot be reached or says
//! nothing has no opinion, and what it said before stands: whether a backend lives is for probes to find.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::rhythm;
use crate::model::intent::Agent;
use crate::model::live::AgentState;
use crate::model::live::agent::Objection;
use crate::net::socket;

mod words;

use words::Said;

/// How long one question may take; no longer than until the next is due.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One backend's agent.
pub(super) struct Asking {
    /// The backend it speaks for.
    pub(super) backend: SocketAddr,
    pub(super) agent: Agent,
    /// Where its words go.
    pub(super) state: Arc<AgentState>,
    /// How many checks may be under way.
    pub(super) permits: Arc<Semaphore>,
}

impl Asking {
    /// Asks for ever, from `first` on.
    pub(super) async fn run(self, first: Duration) {
        sleep(first).await;
        loop {
            let permit = self.permits.acquire().await.ok();
            let started = Instant::now();
            if let Some(said) = self.ask().await {
                self.take(said);
            }
            drop(permit);
            sleep(rhythm::pause(self.agent.every, started.elapsed(), false)).await;
        }
    }

    async fn ask(&self) -> Option<Said> {
        let address = SocketAddr::new(self.backend.ip(), self.agent.port);
        let within = self.agent.every.min(TIMEOUT);
        let line = match timeout(within, line(address, within)).await {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => {
                debug!(backend = %self.backend, agent = %address, error = socket::describe(&error), "no opinion");
                return None;
            }
            Err(_) => {
                debug!(backend = %self.backend, agent = %address, "the agent did not finish its line in time");
                return None;
            }
        };
        let said = words::parse(&line);
        if said.is_none() {
            let line = String::from_utf8_lossy(&line);
            debug!(backend = %self.backend, agent = %address, ?line, "the agent says no word that is known");
        }
        said
    }

    fn take(&self, said: Said) {
        let before = (self.state.objection(), self.state.percent());
        let Said { admin, is_down, percent, max_connections, why } = said;
        admin.into_iter().for_each(|admin| self.state.set_admin(admin));
        is_down.into_iter().for_each(|is_down| self.state.set_down(is_down));
        percent.into_iter().for_each(|percent| self.state.set_percent(percent));
        max_connections.into_iter().for_each(|most| self.state.set_max_connections(most));
        let now = (self.state.objection(), self.state.percent());
        let reason = why.as_deref().unwrap_or("it gave none").to_owned();
        self.state.set_why(why.map(Into::into));
        if now == before {
            return;
        }
        let backend = self.backend;
        match now {
            (Some(Objection::Down), _) => warn!(%backend, reason, "the backend's agent says that it is down"),
            (Some(Objection::Drain), _) | (None, 0) => {
                warn!(%backend, reason, "the backend's agent wishes it to finish what it has");
            }
            (Some(Objection::Maintain), _) => warn!(%backend, reason, "the backend's agent wishes it to take nothing"),
            (None, percent) if before.0.is_some() || before.1 == 0 => {
                info!(%backend, percent, "the backend's agent has nothing against it any more");
            }
            // An agent that tells how idle it is says another number each time.
            (None, percent) => debug!(%backend, percent, "the backend's agent changes its share"),
        }
    }
}

/// The first line, without its end; what came until the end where there is none.
async fn line(address: SocketAddr, within: Duration) -> std::io::Result<Vec<u8>> {
    let mut stream = socket::dial(address, within).await?;
    let mut line = Vec::with_capacity(64);
    loop {
        let mut some = [0; words::LONGEST];
        let count = stream.read(&mut some).await?;
        let some = some.get(..count).unwrap_or_default();
        match some.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                line.extend(some.iter().take(end));
                break;
            }
            None => line.extend_from_slice(some),
        }
        if count == 0 || line.len() > words::LONGEST {
            break;
        }
    }
    if line.len() > words::LONGEST {
        return Err(std::io::Error::other(format!("its line is longer than {} bytes", words::LONGEST)));
    }
    Ok(line)
}

#[cfg(test)]
mod tests;
