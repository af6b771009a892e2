//! One order from its account to its certificate, at a certificate authority on the network (RFC 8555).
//!
//! The proof of each name is offered to the data plane before the authority is told to look, and withdrawn when the
//! order ends, however it does. An account that the authority does not know (any more) is replaced by a new one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewAccount, NewOrder, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::client::{Client, Seen};
use super::follow::{Authority, Failure};
use super::issued::Issued;
use super::plan::Window;
use super::state_dir::StateDir;
use crate::model::host::Host;
use crate::model::intent::{Challenge, Order};
use crate::model::live::AcmeState;
use crate::model::live::acme::{Answer, Offer};

/// Orders under way at once.
const AT_ONCE: usize = 4;
/// How long an order may take in all, …
const WHOLE: Duration = Duration::from_secs(300);
/// … and how long each of its two waits: for the proofs to be looked at, and for the certificate.
const POLL: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120)).backoff(1.5);
/// The most of an authority's own words that is shown, in characters.
const WORDS: usize = 600;

/// The error of an authority that does not know a number as its own.
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
/// The error of an authority that has no such account.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Authorities on the network, each named by the orders.
pub(super) struct Remote {
    dir: StateDir,
    live: Arc<AcmeState>,
    /// One account is made at a time: two orders must not make one each.
    accounts: Mutex<()>,
    places: Semaphore,
    /// When this process began to order.
    began: SystemTime,
}

impl Remote {
    /// Those that are asked with the accounts in `dir`, and answered by `live`.
    pub(super) fn new(dir: StateDir, live: Arc<AcmeState>) -> Self {
        let (accounts, places) = (Mutex::new(()), Semaphore::new(AT_ONCE));
        Self { dir, live, accounts, places, began: SystemTime::now() }
    }

    /// The account of an order: the one that is kept, else a new one.
    async fn account(&self, order: &Order, seen: &Arc<Seen>) -> Result<Account, Fault> {
        let _alone = self.accounts.lock().await;
        let builder = Account::builder_with_http(Box::new(Client::new(&order.roots, seen.clone())?));
        if let Some(kept) = self.dir.account(order) {
            return Ok(builder.from_credentials(kept).await?);
        }
        let contact = order.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let asked = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&asked, order.directory.to_string(), None).await?;
        self.keep_account(order, credentials).await?;
        Ok(account)
    }

    async fn keep_account(&self, order: &Order, credentials: AccountCredentials) -> Result<(), Fault> {
        let (dir, order) = (self.dir.clone(), order.clone());
        let kept = aside(move || dir.keep_account(&order, &credentials).map_err(|error| error.to_string())).await;
        kept.map_err(|error| Fault::Own(format!("the account cannot be kept: {error}")))
    }

    /// Orders with the account that is kept; with a new one, if the authority does not know that.
    async fn attempt(&self, order: &Order, way: Challenge, seen: &Arc<Seen>) -> Result<String, Fault> {
        let account = self.account(order, seen).await?;
        match self.place(&account, order, way).await {
            Err(Fault::Theirs(Error::Api(Problem { r#type: Some(kind), .. }))) if kind == NO_ACCOUNT => {
                self.dir.forget_account(order);
                let account = self.account(order, seen).await?;
                self.place(&account, order, way).await
            }
            ended => ended,
        }
    }

    /// One order. Gives the key and the chain as PEM.
    async fn place(&self, account: &Account, order: &Order, way: Challenge) -> Result<String, Fault> {
        let names: Vec<_> = order.hosts.iter().map(|host| Identifier::Dns(host.as_str().to_owned())).collect();
        let mut placed = account.new_order(&NewOrder::new(&names)).await?;
        let mut offers = Vec::with_capacity(names.len());
        let mut authorizations = placed.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let status = authorization.status;
            let asked = match way {
                Challenge::Http01 => ChallengeType::Http01,
                Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
            };
            let challenge = authorization.challenge(asked).filter(|_| status == AuthorizationStatus::Pending);
            let Some(mut challenge) = challenge else {
                return Err(Fault::Own(format!("the authority lets {name} not be proven by {way} ({status:?})")));
            };
            let proof = challenge.key_authorization();
            let answer = match way {
                Challenge::Http01 => {
                    Answer::Text { token: challenge.token.as_str().into(), text: proof.as_str().into() }
                }
                Challenge::TlsAlpn01 => proof_key(&name, proof.digest().as_ref())?,
            };
            offers.push(self.live.offer(answer));
            challenge.set_ready().await?;
        }
        match placed.poll_ready(&POLL).await {
            Ok(OrderStatus::Ready) => {}
            ended => return Err(why(&mut placed, ended, way).await),
        }
        drop::<Vec<Offer>>(offers);
        let key = KeyPair::generate()?;
        let mut asked = CertificateParams::new(order.hosts.iter().map(|h| h.as_str().to_owned()).collect::<Vec<_>>())?;
        // Without the library's own common name, which is no name of ours.
        asked.distinguished_name = DistinguishedName::new();
        placed.finalize_csr(asked.serialize_request(&key)?.der()).await?;
        let chain = placed.poll_certificate(&POLL).await?;
        Ok(format!("{}{chain}", key.serialize_pem()))
    }

    /// Notes for the next process how an order ended.
    async fn note(&self, order: &Order, is_issued: bool, was_refused: bool) {
        let (dir, asked) = (self.dir.clone(), order.clone());
        let noted = aside(move || {
            match (is_issued, was_refused) {
                (true, _) => dir.forget_refusal(&asked),
                (false, true) => dir.note_refusal(&asked),
                (false, false) => {}
            }
            Ok(())
        });
        // Without it the next process only asks sooner.
        let _ = noted.await;
    }

    /// Keeps what was issued. A disk that fails costs no certificate, only the next start a new order.
    async fn keep(&self, order: &Order, pem: String) {
        let (dir, asked) = (self.dir.clone(), order.clone());
        let kept = aside(move || dir.keep_certificate(&asked, &pem).map_err(|error| error.to_string())).await;
        if let Err(error) = kept {
            let hosts = order.hosts_in_words(", ");
            tracing::error!(
                "the certificate for {hosts} is served but cannot be kept, so the next start orders it anew: {error}"
            );
        }
    }
}

impl Authority for Remote {
    async fn order(&self, order: &Order, way: Challenge) -> Result<Issued, Failure> {
        let unreached = |reason| Failure { reason, was_refused: false, retry_after: None };
        let (dir, asked, began) = (self.dir.clone(), order.clone(), self.began);
        // Else each start would order again, until the authority has had enough.
        let rest = aside(move || dir.prepare().map(|()| dir.rest(&asked, began, SystemTime::now())));
        if let Some(rest) = rest.await.map_err(unreached)? {
            let reason = "the authority refused it shortly before this process began".to_owned();
            return Err(Failure { reason, was_refused: false, retry_after: Some(rest) });
        }
        let Ok(_place) = self.places.acquire().await else { return Err(unreached("the process stops".to_owned())) };
        let seen = Arc::<Seen>::default();
        let ended = bounded(self.attempt(order, way, &seen)).await;
        let was_refused = seen.was_reached() && ended.as_ref().err().is_none_or(|fault| !fault.is_passing());
        let issued = ended.map_err(Fault::in_words).and_then(|pem| {
            let issued = Issued::parse(pem.as_bytes(), order);
            issued.map(|issued| (issued, pem)).map_err(|reason| format!("what was issued is of no use: {reason}"))
        });
        self.live.ended(issued.is_ok());
        self.note(order, issued.is_ok(), was_refused).await;
        match issued {
            Ok((issued, pem)) => {
                self.keep(order, pem).await;
                Ok(issued)
            }
            Err(reason) => Err(Failure { reason, was_refused, retry_after: seen.retry_after() }),
        }
    }

    async fn window(&self, order: &Order, issued: &Issued) -> Option<(Window, Duration)> {
        let leaf = CertificateDer::from(issued.cert.chain.first()?.to_vec());
        let id = CertificateIdentifier::try_from(&leaf).ok()?.into_owned();
        // One that was never made is not made for this.
        drop::<AccountCredentials>(self.dir.account(order)?);
        let ask = async {
            let account = self.account(order, &Arc::default()).await?;
            Ok::<_, Fault>(account.renewal_info(&id).await?)
        };
        match bounded(ask).await {
            Ok((said, again)) => {
                let (start, end) = (said.suggested_window.start, said.suggested_window.end);
                Some((Window { start: start.unix_timestamp(), end: end.unix_timestamp() }, again))
            }
            Err(fault) => {
                tracing::debug!("no renewal window for {}: {}", order.hosts_in_words(", "), fault.in_words());
                None
            }
        }
    }
}

/// The certificate to show for a name (RFC 8737 §3).
fn proof_key(name: &str, digest: &[u8]) -> Result<Answer, Fault> {
    // The library panics at any other length.
    if digest.len() != 32 {
        return Err(Fault::Own("the digest of a proof is not 32 bytes long".to_owned()));
    }
    let host = Host::parse(name).map_err(|error| Fault::Own(error.to_string()))?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
    let cert = params.self_signed(&key)?;
    let of_no_use = || Fault::Own("a key that was just made cannot sign".to_owned());
    let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| of_no_use())?;
    let signer = any_supported_type(&der).map_err(|_| of_no_use())?;
    Ok(Answer::Key { host, key: Arc::new(CertifiedKey::new(vec![cert.der().clone()], signer)) })
}

/// Why the proofs were not accepted: what the authority says of each name, else of the order.
async fn why(placed: &mut instant_acme::Order, ended: Result<OrderStatus, Error>, way: Challenge) -> Fault {
    let mut said = Vec::new();
    let mut authorizations = placed.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let name = state.identifier().to_string();
        let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        said.extend(problems.map(|problem| format!("{name}: {}", in_words(problem))));
    }
    said.sort_unstable();
    match (said.is_empty(), ended) {
        (false, _) => Fault::Own(format!("{way}: {}", said.join("; "))),
        (true, Err(error)) => Fault::Theirs(error),
        (true, Ok(status)) => Fault::Own(format!("the order is {status:?}")),
    }
}

/// What went wrong with an order.
enum Fault {
    /// As the library or the authority says it.
    Theirs(Error),
    /// As we say it.
    Own(String),
}

impl Fault {
    /// Whether the way to the authority broke, it is out of order, or it lost count of the numbers it gave out (RFC 8555
    /// §6.5).
    fn is_passing(&self) -> bool {
        let problem = match self {
            Self::Theirs(Error::Api(problem)) => problem,
            Self::Theirs(error) => return matches!(error, Error::Other(_)),
            Self::Own(_) => return false,
        };
        problem.status.is_some_and(|status| status >= 500) || problem.r#type.as_deref() == Some(BAD_NONCE)
    }

    fn in_words(self) -> String {
        let words = match self {
            Self::Theirs(Error::Api(problem)) => in_words(&problem),
            Self::Theirs(error) => error.to_string(),
            Self::Own(words) => words,
        };
        match words.char_indices().nth(WORDS) {
            Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
            None => words,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Theirs(error)
    }
}

impl From<rcgen::Error> for Fault {
    fn from(error: rcgen::Error) -> Self {
        Self::Own(format!("a key or a request cannot be made: {error}"))
    }
}

impl From<String> for Fault {
    fn from(words: String) -> Self {
        Self::Own(words)
    }
}

/// An authority's own words.
fn in_words(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().map(|kind| kind.trim_start_matches("urn:ietf:params:acme:error:"));
    let detail = problem.detail.as_deref().unwrap_or("it does not say why");
    let mut words = format!("{detail} ({})", kind.unwrap_or("no type"));
    for more in &problem.subproblems {
        words.push_str("; ");
        words.push_str(more.to_string().trim_start_matches("for "));
    }
    words
}

/// Sees to it that an order ends, whatever the authority says: the library panics where a directory names what is no URL.
async fn bounded<T>(order: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match timeout(WHOLE, AssertUnwindSafe(order).catch_unwind()).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(_panic)) => Err(Fault::Own("the authority's answer cannot be made sense of".to_owned())),
        Err(_) => Err(Fault::Own(format!("the order took longer than {WHOLE:?}"))),
    }
}

/// Runs what may block where it may.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}
