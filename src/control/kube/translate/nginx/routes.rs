//! Pure. Annotations about which requests go where: expressions, redirects, other names, canaries and mirrors.

use std::sync::Arc;

use crate::control::ask;
use crate::model::filter::redirect;
use crate::model::host::{Host, HostPattern};
use crate::model::intent::Redirect;

use super::table::Verdict;
use super::{Asks, Said, values};
use crate::control::kube::translate::annotations::{Named, field_name, field_value, service_url};

/// Which requests a canary takes.
#[derive(Clone, Debug, Default)]
pub(in crate::control::kube::translate) struct CanaryRule {
    /// The field that decides first, and its value.
    pub(super) header: Option<(Arc<str>, Option<Arc<str>>)>,
    /// The cookie that decides then.
    pub(super) cookie: Option<Arc<str>>,
    /// Of the rest so many in a thousand.
    pub(super) permille: u16,
}

/// A Service that hears requests too.
#[derive(Debug)]
pub(super) struct MirrorAsk {
    pub(super) to: Named,
    /// Bodies up to this, in bytes, are copied.
    pub(super) max_body: u64,
}

/// Reads all annotations of this room; the canary and the mirror, which have to be looked up, are asked for in `asks`.
pub(super) fn read(said: &mut Said<'_>, asks: &mut Asks) {
    // One that cannot be had is refused, and keeps the paths that it meant.
    asks.is_regex = said.is_true("use-regex") || said.text("rewrite-target").is_some();
    asks.target = said.value("rewrite-target", target);
    redirects(said, asks);
    asks.force_https = said.is_true("force-ssl-redirect");
    // The forced one wins, as there.
    asks.wishes.redirect_https = said.value("ssl-redirect", values::switch).filter(|_| !asks.force_https);
    asks.www = said.is_true("from-to-www-redirect");
    let aliases = said.value("server-alias", |text| {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| HostPattern::parse(name).map_err(|error| error.to_string())).collect::<Result<Vec<_>, _>>()
    });
    asks.aliases = aliases.unwrap_or_default();
    asks.wishes.base.rewrite_host =
        said.value("upstream-vhost", |text| Host::parse(text).map_err(|error| error.to_string()));
    asks.wishes.base.max_body = said.value("proxy-body-size", values::size).flatten();
    prefix(said, asks);
    if said.is_true("canary") {
        asks.canary = Some(canary(said));
    }
    mirror(said, asks);
    if said.value("ssl-passthrough", values::switch) == Some(false) {
        said.told.insert("ssl-passthrough", (Verdict::Safe, "it is off".to_owned()));
    }
}

/// What is put in place of the whole path.
fn target(text: &str) -> Result<Arc<str>, String> {
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\' | b'{' | b'}'));
    let mut variables = text.split('$').skip(1);
    let are_groups = variables.all(|rest| rest.starts_with(|c: char| ('1'..='9').contains(&c)));
    match text.starts_with(['/', '$']) && text.len() <= 1024 && is_plain && are_groups {
        true => Ok(text.into()),
        false => Err("it is a path like /$2, with groups for its only variables and without a query".to_owned()),
    }
}

fn redirects(said: &mut Said<'_>, asks: &mut Asks) {
    let address = |text: &str| {
        if text.contains(['{', '}']) && !text.contains("${") {
            return Err("braces are not for addresses".to_owned());
        }
        let to = values::with_variables(text, values::of_request)?;
        redirect::check(&to)?;
        Ok(Arc::<str>::from(to))
    };
    let code = |text: &str| {
        let code = values::number(text, 301, 308_u16).ok().filter(|code| [301, 302, 303, 307, 308].contains(code));
        code.ok_or_else(|| "it is 301, 302, 303, 307 or 308".to_owned())
    };
    let permanent_code = said.value("permanent-redirect-code", code).unwrap_or(301);
    let temporal_code = said.value("temporal-redirect-code", code).unwrap_or(302);
    let permanent = said.value("permanent-redirect", address).map(|to| (to, permanent_code));
    let temporal = said.value("temporal-redirect", address).map(|to| (to, temporal_code));
    let to = |(to, code): (Arc<str>, u16)| Arc::new(Redirect { to: Some(to), code, ..Redirect::default() });
    // The temporal one wins, as there.
    asks.redirect = temporal.or(permanent).map(to);
    asks.app_root = said
        .value("app-root", |text| match text.starts_with('/') && text != "/" {
            true => address(text),
            false => Err("it is a path like /app".to_owned()),
        })
        .map(|root| to((root, 302)));
}

fn prefix(said: &mut Said<'_>, asks: &mut Asks) {
    let value = said.value("x-forwarded-prefix", |text| match text.contains('$') {
        true => Err("groups in it are not known here".to_owned()),
        false => crate::model::filter::fields::value(text).map(|_| Arc::<str>::from(text)),
    });
    let Some(value) = value else { return };
    if asks.target.is_some() {
        asks.wishes.base.request_headers.set.push(("x-forwarded-prefix".into(), value));
    } else {
        said.say("x-forwarded-prefix", Verdict::Safe, "without rewrite-target it is not sent, and was not");
    }
}

fn canary(said: &mut Said<'_>) -> CanaryRule {
    let whole = said.value("canary-weight-total", |text| values::number(text, 1, 1_000_000_u64)).unwrap_or(100);
    let weight = said.value("canary-weight", |text| values::number(text, 0, 1_000_000_u64)).unwrap_or_default();
    let permille = (weight.min(whole) * 1000).div_ceil(whole);
    let name = said.value("canary-by-header", field_name);
    let value = said.value("canary-by-header-value", field_value);
    // With a pattern alone no value is `always`.
    let has_pattern = said.text("canary-by-header-pattern").is_some() && value.is_none();
    CanaryRule {
        header: name.filter(|_| !has_pattern).map(|name| (name, value)),
        cookie: said.value("canary-by-cookie", ask::cookie),
        permille: u16::try_from(permille).unwrap_or(1000),
    }
}

fn mirror(said: &mut Said<'_>, asks: &mut Asks) {
    let has_bodies = said.value("mirror-request-body", values::on_or_off).unwrap_or(true);
    let to = said.value("mirror-target", |text| {
        let text = text.strip_suffix("$request_uri").or_else(|| text.strip_suffix("${request_uri}")).unwrap_or(text);
        let (named, path) = service_url(text)?;
        match &*path {
            "/" => Ok(named),
            _ => Err("the mirror gets the path of the request; leave it out".to_owned()),
        }
    });
    let max_body = if has_bodies { ask::MIRRORED } else { 0 };
    asks.mirror = to.map(|to| MirrorAsk { to, max_body });
}
