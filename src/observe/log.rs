//! The log: one line an event on stderr, as text or as JSON, filtered by target and level.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

/// The environment variable that sets the filter where no flag does.
pub const VARIABLE: &str = "SLUICE_LOG";

/// Libraries that tell of every frame and every retry; what of it matters is told again in our own words. kube calls
/// each failed try an error, which `control` tells once an outage; h2 warns of each client that resets too much, as
/// often as it likes. A filter that names one of them wins.
const QUIET: &str = "h2=error,hyper=warn,kube=off,notify=warn,rustls=warn,tower=warn";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// For people and journald; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One object a line, for collectors.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be understood.
    #[error("log filter {text:?} is not valid: {error}; write it like `info` or `info,sluice::proxy=debug`")]
    Filter {
        /// The filter as given.
        text: String,
        /// What is wrong with it.
        error: ParseError,
    },
    /// Something else logs already.
    #[error("the log was started before; start it once, at the very beginning")]
    Started,
}

/// Starts the log of the process. The filter is the flag's, else [`VARIABLE`]'s, else `info`. Does not wait; writing a
/// line does, as long as stderr takes.
pub fn start(flag: Option<&str>, format: Format) -> Result<(), LogError> {
    let filter = filter(flag.map(str::to_owned).or_else(|| std::env::var(VARIABLE).ok()).as_deref())?;
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing::subscriber::set_global_default(subscriber(filter, format, colour, io::stderr))
        .map_err(|_| LogError::Started)
}

fn filter(text: Option<&str>) -> Result<EnvFilter, LogError> {
    let text = text.map(str::trim).filter(|text| !text.is_empty()).unwrap_or("info");
    // Of two directives for the same target the later one counts, so what was asked comes last.
    EnvFilter::try_new(format!("{QUIET},{text}")).map_err(|error| LogError::Filter { text: text.to_owned(), error })
}

fn subscriber<W>(filter: EnvFilter, format: Format, colour: bool, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour);
    match format {
        Format::Text => Box::new(lines.finish()),
        Format::Json => Box::new(lines.json().flatten_event(true).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{debug, error, info, subscriber::with_default, warn};

    use super::*;

    /// What is logged under this filter and format, one item a line.
    fn logged(text: Option<&str>, format: Format, events: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer(lines.clone());
        with_default(subscriber(filter(text).unwrap(), format, false, move || writer.clone()), events);
        let bytes = lines.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[derive(Clone)]
    struct Writer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn events() {
        info!(target: "sluice::proxy", listener = "web", "open");
        debug!(target: "sluice::proxy", "detail");
        info!(target: "hyper::proto", "frame");
        warn!(target: "h2::proto::streams::recv", "too many resets");
        error!(target: "kube_client::client::builder", "failed");
    }

    #[test]
    fn libraries_stay_quiet_unless_they_are_named() {
        for (filter, count) in [
            (None, 1),
            (Some(" "), 1),
            (Some("debug"), 2),
            (Some("info,hyper=info"), 2),
            (Some("info,h2=warn"), 2),
            (Some("warn"), 0),
        ] {
            assert_eq!(logged(filter, Format::Text, events).len(), count, "{filter:?}");
        }
    }

    #[test]
    fn text_has_no_colour_codes_and_json_is_one_object_a_line() {
        let text = logged(None, Format::Text, events);
        assert!(text[0].contains("INFO sluice::proxy: open listener=\"web\"") && !text[0].contains('\x1b'), "{text:?}");
        let json = logged(None, Format::Json, events);
        let event: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
        assert_eq!((&event["message"], &event["listener"]), (&"open".into(), &"web".into()));
    }

    #[test]
    fn a_filter_that_cannot_be_understood_says_what_would_be_right() {
        let error = filter(Some("sluice=loud")).unwrap_err().to_string();
        assert!(error.contains("\"sluice=loud\"") && error.contains("info,sluice::proxy=debug"), "{error}");
    }
}
