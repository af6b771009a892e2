//! All objects of a cluster, asked for once: for commands that look and go. Nothing is watched and nothing is written.

use kube::Api;
use kube::api::ListParams;
use kube::runtime::watcher;

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

use super::client::connect;
use super::failure::{Failure, Server};
use super::feed::Watched;

/// Reads all objects of a cluster from its API server.
///
/// # Errors
/// Why they cannot be had, in words.
pub async fn list(access: &Access) -> Result<Vec<Change>, String> {
    let (client, server) = connect(access).await?;
    let asking = Asking { client, server };
    Ok(vec![
        asking.all::<Service>().await?,
        asking.all::<EndpointSlice>().await?,
        asking.all::<Node>().await?,
        asking.all::<Ingress>().await?,
        asking.all::<IngressClass>().await?,
        asking.all::<TlsSecret>().await?,
        asking.all::<UserSecret>().await?,
        asking.all::<OpaqueSecret>().await?,
    ])
}

struct Asking {
    client: kube::Client,
    server: Server,
}

impl Asking {
    async fn all<K: Kind>(&self) -> Result<Change, String> {
        let params = K::FIELDS.map_or_else(ListParams::default, |fields| ListParams::default().fields(fields));
        let feed = Feed { kind: K::FEED, namespace: None };
        let listed = Api::<Watched<K>>::all(self.client.clone()).list(&params).await;
        let list = listed.map_err(|error| {
            match Failure::of::<K>(&watcher::Error::InitialListFailed(error), &feed, &self.server) {
                Failure::Server(words) | Failure::Kind(words) => words,
                Failure::Forbidden { account, what } => {
                    let who = account.unwrap_or_else(|| "the account".to_owned());
                    format!("{who} may not list {what} (403); give it that right, or another kubeconfig")
                }
            }
        })?;
        let objects: Vec<Object> = list.items.into_iter().map(Watched::into_object).collect();
        Ok(Change::Replace { feed, objects })
    }
}
