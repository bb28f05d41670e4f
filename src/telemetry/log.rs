//! The log: what the process tells people, line by line. What it counts is elsewhere.
//!
//! How much it tells, and in what form, can be changed while the process runs. What isn't told costs
//! a look at one number: whether a line is wanted is worked out when the filter changes, not when the
//! line comes.

use std::{
    collections::BTreeMap,
    fmt, io, panic,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Registry,
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, Writer},
        time::{FormatTime as _, SystemTime},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

/// The most bytes of a filter's text.
const MAX_FILTER_BYTES: usize = 1_024;
/// The most targets that a filter names.
const MAX_TARGETS: usize = 32;
/// What is told of targets that a filter doesn't name, if it doesn't say.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::INFO;

/// What is told: everything from a level on, and of some targets from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    level: LevelFilter,
    targets: BTreeMap<Box<str>, LevelFilter>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { level: DEFAULT_LEVEL, targets: BTreeMap::new() }
    }
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// It is too long.
    #[error("must have at most {MAX_FILTER_BYTES} bytes and {MAX_TARGETS} targets")]
    TooLong,
    /// A part of it is neither a level nor a target and its level.
    #[error(
        "has `{0}`: write a level (off, error, warn, info, debug, trace) or a list such as \
         `info,aap::audit=debug`"
    )]
    Part(String),
    /// It says something twice.
    #[error("says twice what is told of {0}")]
    Twice(String),
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        if text.len() > MAX_FILTER_BYTES {
            return Err(InvalidFilter::TooLong);
        }
        let (mut level, mut targets) = (None, BTreeMap::new());
        for part in text.split(',').map(str::trim) {
            let wrong = || InvalidFilter::Part(part.escape_debug().to_string());
            let Some((target, named)) = part.split_once('=') else {
                if level.replace(level_of(part).ok_or_else(wrong)?).is_some() {
                    return Err(InvalidFilter::Twice("all targets".to_owned()));
                }
                continue;
            };
            let named = level_of(named).filter(|_| is_target(target)).ok_or_else(wrong)?;
            if targets.insert(target.into(), named).is_some() {
                return Err(InvalidFilter::Twice(format!("`{target}`")));
            }
        }
        if targets.len() > MAX_TARGETS {
            return Err(InvalidFilter::TooLong);
        }
        Ok(Self { level: level.unwrap_or(DEFAULT_LEVEL), targets })
    }
}

fn level_of(name: &str) -> Option<LevelFilter> {
    // Numbers would be levels too, and nothing would be one.
    let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_word.then(|| name.parse().ok())?
}

fn is_target(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.level)?;
        self.targets.iter().try_for_each(|(target, level)| write!(f, ",{target}={level}"))
    }
}

impl Filter {
    fn targets(&self) -> Targets {
        let named = self.targets.iter().map(|(target, level)| (&**target, *level));
        Targets::new().with_targets(named).with_default(self.level)
    }
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: a JSON object.
    Json,
}

/// How the log is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// What a line looks like.
    pub format: Format,
    /// What is told.
    pub filter: Filter,
}

/// A log is set up already.
#[derive(Debug, thiserror::Error)]
#[error("a log is set up already")]
pub struct Twice;

/// The log of this process, to be kept in another way. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    filter: reload::Handle<Targets, Registry>,
    is_json: Arc<AtomicBool>,
}

impl Log {
    /// Sends the log to standard error, panics included.
    pub fn start(settings: &LogSettings) -> Result<Self, Twice> {
        let (filter, handle) = reload::Layer::new(settings.filter.targets());
        let log = Self { filter: handle, is_json: Arc::default() };
        log.is_json.store(settings.format == Format::Json, Ordering::Relaxed);
        let lines = Lines { text: format::Format::default(), is_json: Arc::clone(&log.is_json) };
        let told = tracing_subscriber::fmt::layer().event_format(lines).with_writer(io::stderr);
        tracing_subscriber::registry().with(filter).with(told).try_init().map_err(|_| Twice)?;
        panic::set_hook(Box::new(tell_panic));
        Ok(log)
    }

    /// Keeps it in another way from the next line on.
    pub fn replace(&self, settings: &LogSettings) {
        self.is_json.store(settings.format == Format::Json, Ordering::Relaxed);
        if let Err(error) = self.filter.reload(settings.filter.targets()) {
            tracing::error!(%error, "the log goes on by the filter before");
        }
    }

    /// What its lines look like.
    pub fn format(&self) -> Format {
        if self.is_json.load(Ordering::Relaxed) { Format::Json } else { Format::Text }
    }
}

fn tell_panic(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let said = panic.payload_as_str().unwrap_or_default();
    say_panic(&place, said, &mut io::stderr());
}

/// A panic is a line of the log like any other, so that each line can be read by machines. If the
/// filter hides it, it is a plain line: no filter means that nobody hears of it.
fn say_panic(place: &str, said: &str, otherwise: &mut dyn io::Write) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    if tracing::enabled!(Level::ERROR) {
        tracing::error!(thread, place, said, "panicked");
    } else {
        // There is nobody left to tell that it fails.
        let _ = writeln!(otherwise, "thread `{thread}` panicked at {place}: {said}");
    }
}

/// Writes lines, each in the form that is wanted when it comes.
struct Lines {
    text: format::Format,
    is_json: Arc<AtomicBool>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if !self.is_json.load(Ordering::Relaxed) {
            return self.text.format_event(context, writer, event);
        }
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        writeln!(writer, "{}", object(time, event))
    }
}

/// A line as a JSON object. `TELEMETRY.md` names what is in it.
fn object(time: String, event: &Event<'_>) -> Value {
    let mut read = Fields::default();
    event.record(&mut read);
    let Fields { message, fields } = read;
    let metadata = event.metadata();
    let mut object = Map::new();
    for (name, value) in [
        ("timestamp", time.into()),
        ("level", metadata.level().as_str().into()),
        ("target", metadata.target().into()),
        ("message", message.into()),
        ("fields", fields.into()),
    ] {
        object.insert(name.to_owned(), value);
    }
    object.into()
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    fields: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[test]
    fn a_filter_is_a_level_and_levels_of_targets() {
        for (text, meant) in [
            ("info", "info"),
            ("DEBUG", "debug"),
            ("off", "off"),
            ("aap::audit=debug", "info,aap::audit=debug"),
            ("warn, h2=off,aap=trace", "warn,aap=trace,h2=off"),
        ] {
            let filter: Filter = text.parse().unwrap();
            assert_eq!(filter.to_string(), meant, "{text}");
            assert_eq!(filter.to_string().parse(), Ok(filter));
        }
        assert_eq!(Filter::default().to_string(), "info");
    }

    #[test]
    fn what_is_no_filter_is_said_to_be_none() {
        let many: Vec<_> = (0..=MAX_TARGETS).map(|number| format!("t{number}=info")).collect();
        let part = |text: &str| InvalidFilter::Part(text.to_owned());
        for (text, error) in [
            ("", part("")),
            ("inof", part("inof")),
            ("3", part("3")),
            ("info,", part("")),
            ("aap=loud", part("aap=loud")),
            ("=info", part("=info")),
            ("aap[call]=info", part("aap[call]=info")),
            ("a\u{1b}", part("a\\u{1b}")),
            ("info,debug", InvalidFilter::Twice("all targets".to_owned())),
            ("aap=info,aap=info", InvalidFilter::Twice("`aap`".to_owned())),
            (&many.join(","), InvalidFilter::TooLong),
            (&"a".repeat(MAX_FILTER_BYTES + 1), InvalidFilter::TooLong),
        ] {
            assert_eq!(text.parse::<Filter>(), Err(error), "{text}");
        }
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_panic_is_told_whatever_the_filter_hides() {
        for (filter, is_logged) in
            [("error", true), ("off", false), ("off,aap::server=info", false)]
        {
            let (written, mut plain) = (Written::default(), Vec::new());
            let lines = Lines { text: format::Format::default(), is_json: Arc::new(true.into()) };
            let told =
                tracing_subscriber::fmt::layer().event_format(lines).with_writer(written.clone());
            let filter = filter.parse::<Filter>().unwrap().targets();
            let log = tracing_subscriber::registry().with(filter).with(told);
            tracing::subscriber::with_default(log, || say_panic("a.rs:1:2", "why", &mut plain));
            let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            let plain = String::from_utf8(plain).unwrap();
            assert_eq!(written.contains("\"said\":\"why\""), is_logged, "{written}");
            assert_eq!(plain.ends_with("panicked at a.rs:1:2: why\n"), !is_logged, "{plain}");
        }
    }

    #[test]
    fn a_line_in_json_is_one_object_whatever_is_in_it() {
        let written = Written::default();
        let lines = Lines { text: format::Format::default(), is_json: Arc::new(true.into()) };
        let told =
            tracing_subscriber::fmt::layer().event_format(lines).with_writer(written.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(told), || {
            let (text, error) = ("two\nlines \"quoted\" \u{1b}[31m", io::Error::other("it\nfails"));
            tracing::warn!(count = 3_u64, change = -1_i64, holds = true, text, %error, "it {}", 1);
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        let mut object: Map<String, Value> = serde_json::from_str(&written).unwrap();
        let time = object.remove("timestamp").unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
        let wanted = serde_json::json!({
            "level": "WARN",
            "target": "aap::telemetry::log::tests",
            "message": "it 1",
            "fields": {
                "count": 3,
                "change": -1,
                "holds": true,
                "text": "two\nlines \"quoted\" \u{1b}[31m",
                "error": "it\nfails",
            },
        });
        assert_eq!(Value::from(object), wanted);
    }
}
