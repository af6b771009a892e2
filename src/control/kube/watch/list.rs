//! Whole lists, page by page: of a kind, for its feed; and of all kinds, once, for commands that look and go.

use crate::control::kube::objects::endpoints::EndpointSlice;
use crate::control::kube::objects::ingress::{Ingress, IngressClass};
use crate::control::kube::objects::node::Node;
use crate::control::kube::objects::opaque::OpaqueSecret;
use crate::control::kube::objects::secret::TlsSecret;
use crate::control::kube::objects::service::Service;
use crate::control::kube::objects::users::UserSecret;
use crate::control::kube::objects::{Kind, Object};
use crate::control::kube::spec::Access;
use crate::control::kube::store::{Change, Feed};

use super::ask::{Asker, Wrong};
use super::client::{self, Way};
use super::failure::Failure;

/// The most objects of one list, lest a server that has ever another page fill the memory.
const MOST: usize = 1_000_000;

/// All objects of a feed, and how new they are.
///
/// # Errors
/// They cannot be had whole.
pub(super) async fn whole<K: Kind>(asker: &Asker) -> Result<(Vec<Object>, String), Wrong> {
    let mut objects = Vec::new();
    let mut next = None;
    loop {
        let page = asker.list::<K>(next).await?;
        if objects.len() + page.objects.len() > MOST {
            return Err(Wrong::TooLarge(MOST));
        }
        objects.extend(page.objects);
        next = page.next;
        if next.is_none() {
            return Ok((objects, page.version));
        }
    }
}

/// Reads all objects of a cluster from its API server. Nothing is watched, and nothing is written.
///
/// # Errors
/// Why they cannot be had, in words.
pub async fn list(access: &Access) -> Result<Vec<Change>, String> {
    let way = client::read(access).await?.way()?;
    Ok(vec![
        all::<Service>(&way).await?,
        all::<EndpointSlice>(&way).await?,
        all::<Node>(&way).await?,
        all::<Ingress>(&way).await?,
        all::<IngressClass>(&way).await?,
        all::<TlsSecret>(&way).await?,
        all::<UserSecret>(&way).await?,
        all::<OpaqueSecret>(&way).await?,
    ])
}

async fn all<K: Kind>(way: &Way) -> Result<Change, String> {
    let feed = Feed { kind: K::FEED, namespace: None };
    let listed = whole::<K>(&Asker::new::<K>(way.client.clone(), None)).await;
    let (objects, _) = listed.map_err(|wrong| match Failure::of::<K>(&wrong, &feed, &way.server) {
        Failure::Server(words) | Failure::Kind(words) => words,
        Failure::Forbidden { account, what } => {
            let who = account.unwrap_or_else(|| "the account".to_owned());
            format!("{who} may not list {what} (403); give it that right, or another kubeconfig")
        }
    })?;
    Ok(Change::Replace { feed, objects })
}
