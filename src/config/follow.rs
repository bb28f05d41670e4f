//! A configuration file that is read again while the server runs: when somebody asks, and when there
//! is something else in it.
//!
//! The files that it names belong to it: certificates, keys, authorities. It goes by the content alone, so it doesn't matter how a file is changed: in place, by renaming
//! another one over it, or by pointing a link elsewhere. What is done about it is decided elsewhere.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    Config, ConfigError, Overrides,
    listeners::ListenerConfig,
    parse_with,
    pem::{self, Content, Files},
};

/// A configuration file and what is known of it.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    overrides: Overrides,
    /// What the server was started with.
    started: Config,
    /// What was in the file when it was last taken or refused.
    taken: Contents,
    /// What was in it at the last look.
    seen: Contents,
}

/// What was in the file, and in those that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    file: Content,
    named: BTreeMap<PathBuf, Content>,
}

/// A configuration that was read again.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the file says now.
    pub config: Config,
    /// Keys of settings that differ from those that the server was started with, and count only
    /// from its next start on.
    pub awaits_restart: Vec<&'static str>,
}

impl Follower {
    /// Reads a configuration for the first time.
    pub fn open(path: &Path, overrides: Overrides) -> Result<(Config, Self), ConfigError> {
        let (config, contents) = Read::from(path).parse(path, overrides.clone());
        let config = config?;
        let (path, started) = (path.to_owned(), config.clone());
        let (taken, seen) = (contents.clone(), contents);
        Ok((config, Self { path, overrides, started, taken, seen }))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it again, whatever is in it.
    pub fn reload(&mut self) -> Result<Loaded, ConfigError> {
        let read = Read::from(&self.path);
        self.take(read)
    }

    /// Reads it again if something else is in it, and was already at the look before: somebody may
    /// still be writing, and half of a configuration can be a valid one.
    pub fn look(&mut self) -> Option<Result<Loaded, ConfigError>> {
        let read = Read::from(&self.path);
        let named = self.taken.named.keys();
        let named = named.map(|path| (path.clone(), pem::content_of(path))).collect();
        let found = Contents { file: read.content, named };
        let (is_settled, is_new) = (self.seen == found, self.taken != found);
        self.seen = found;
        (is_settled && is_new).then(|| self.take(read))
    }

    fn take(&mut self, read: Read) -> Result<Loaded, ConfigError> {
        let (config, contents) = read.parse(&self.path, self.overrides.clone());
        (self.taken, self.seen) = (contents.clone(), contents);
        let config = config?;
        let awaits_restart = differing(&self.started, &config);
        Ok(Loaded { config, awaits_restart })
    }
}

/// What came of reading a file.
struct Read {
    text: std::io::Result<String>,
    content: Content,
}

impl Read {
    fn from(path: &Path) -> Self {
        let text = fs::read_to_string(path);
        let content = text.as_ref().ok().map(|text| super::sha_256(text.as_bytes()));
        Self { text, content }
    }

    /// The configuration, and what was in all files that were read for it.
    fn parse(self, path: &Path, overrides: Overrides) -> (Result<Config, ConfigError>, Contents) {
        let name = path.display().to_string();
        let mut files = Files::default();
        let config = match self.text {
            Ok(text) => parse_with(&name, &text, overrides, &mut files),
            Err(source) => Err(ConfigError::Read { path: name, source }),
        };
        (config, Contents { file: self.content, named: files.contents() })
    }
}

/// The keys of all that differ but callers, certificates, who vouches for roles and how the log is
/// kept: those can be replaced while the server runs.
fn differing(started: &Config, config: &Config) -> Vec<&'static str> {
    let Config {
        listeners,
        connections,
        data_dir,
        origin,
        callers: _,
        audit,
        snapshot_every,
        reserve,
        scrub,
        limits,
        watches,
        cursors,
        log: _,
        telemetry,
        audience,
        vouchers: _,
    } = config;
    let are_same = listeners.len() == started.listeners.len()
        && listeners.iter().zip(&started.listeners).all(|(a, b)| ListenerConfig::is_same(a, b));
    let mut keys = Vec::new();
    for (key, differs) in [
        ("listen", !are_same),
        ("connections", *connections != started.connections),
        ("data_dir", *data_dir != started.data_dir),
        ("audit.origin", *origin != started.origin),
        ("audit", *audit != started.audit),
        ("journal", *snapshot_every != started.snapshot_every),
        ("disk", *reserve != started.reserve),
        ("scrub", *scrub != started.scrub),
        ("limits", *limits != started.limits),
        ("watches", *watches != started.watches),
        ("cursors", *cursors != started.cursors),
        ("telemetry", *telemetry != started.telemetry),
        ("sessions", *audience != started.audience),
    ] {
        if differs {
            keys.push(key);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, os::unix::fs::symlink};

    use tempfile::TempDir;

    use super::*;
    use crate::identity::token::TokenDigest;

    /// A configuration with callers of these names.
    fn text(names: &[&str]) -> String {
        let mut text = "listen = [\"127.0.0.1:7300\"]\ndata_dir = \"data\"\n".to_owned();
        for name in names {
            let digest = TokenDigest::of(name);
            writeln!(
                text,
                "[[callers]]\nname = \"{name}\"\ntoken_sha256 = \"{digest}\"\n\
                 role = \"admin\"\naccounts = [\"*\"]"
            )
            .unwrap();
        }
        text
    }

    struct Place {
        dir: TempDir,
        follower: Follower,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("aap.toml");
            fs::write(&path, text(&["a"])).unwrap();
            let (_, follower) = Follower::open(&path, Overrides::default()).unwrap();
            Self { dir, follower }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// The callers' names, if the look found something to take.
        fn look(&mut self) -> Option<Result<Vec<String>, usize>> {
            self.follower.look().map(names)
        }
    }

    fn names(read: Result<Loaded, ConfigError>) -> Result<Vec<String>, usize> {
        let loaded = read.map_err(|error| error.problems().len())?;
        Ok(loaded.config.callers.by_name().iter().map(|caller| caller.name.to_string()).collect())
    }

    #[test]
    fn a_file_is_taken_once_when_it_has_settled_however_it_was_changed() {
        let mut place = Place::new();
        assert_eq!(place.look(), None);
        let taken = |names: &[&str]| Some(Ok(names.iter().map(ToString::to_string).collect()));

        fs::write(place.path("aap.toml"), text(&["a", "b"])).unwrap();
        assert_eq!(place.look(), None, "somebody may still be writing");
        assert_eq!(place.look(), taken(&["a", "b"]));
        assert_eq!(place.look(), None);

        fs::write(place.path("new"), text(&["b"])).unwrap();
        fs::rename(place.path("new"), place.path("aap.toml")).unwrap();
        assert_eq!((place.look(), place.look()), (None, taken(&["b"])));

        // As a mounted map of configurations is changed: a link to a directory is replaced.
        fs::remove_file(place.path("aap.toml")).unwrap();
        for (version, names) in [("1", &["b"][..]), ("2", &["c"])] {
            fs::create_dir(place.path(version)).unwrap();
            fs::write(place.path(version).join("aap.toml"), text(names)).unwrap();
            symlink(version, place.path("next")).unwrap();
            fs::rename(place.path("next"), place.path("current")).unwrap();
            if version == "1" {
                symlink("current/aap.toml", place.path("aap.toml")).unwrap();
                assert_eq!((place.look(), place.look()), (None, None), "the content is the same");
            }
        }
        assert_eq!((place.look(), place.look(), place.look()), (None, taken(&["c"]), None));
    }

    #[test]
    fn half_a_file_is_not_taken_while_it_is_being_written() {
        let mut place = Place::new();
        let whole = text(&["a", "b", "c"]);
        // Each piece is a valid configuration with fewer callers.
        for names in [&["a", "b"][..], &["a", "b", "c"], &["a"], &["a", "b", "c"]] {
            fs::write(place.path("aap.toml"), text(names)).unwrap();
            assert_eq!(place.look(), None);
        }
        assert_eq!(fs::read_to_string(place.path("aap.toml")).unwrap(), whole);
        assert_eq!(place.look().unwrap().unwrap().len(), 3);
    }

    #[test]
    fn a_broken_or_missing_file_is_said_once() {
        let mut place = Place::new();
        fs::write(place.path("aap.toml"), "listen = []").unwrap();
        assert_eq!((place.look(), place.look(), place.look()), (None, Some(Err(3)), None));
        fs::remove_file(place.path("aap.toml")).unwrap();
        assert_eq!((place.look(), place.look(), place.look()), (None, Some(Err(1)), None));
        fs::write(place.path("aap.toml"), text(&["a"])).unwrap();
        assert_eq!((place.look(), place.look()), (None, Some(Ok(vec!["a".to_owned()]))));
    }

    #[test]
    fn who_asks_has_it_read_at_once_changed_or_not() {
        let mut place = Place::new();
        assert_eq!(names(place.follower.reload()).unwrap(), ["a"]);
        fs::write(place.path("aap.toml"), text(&["b"])).unwrap();
        assert_eq!(names(place.follower.reload()).unwrap(), ["b"]);
        assert_eq!((place.look(), place.look()), (None, None));
    }

    #[test]
    fn what_counts_after_a_restart_only_is_named() {
        let mut place = Place::new();
        let text = text(&["b"]).replace("7300", "7301").replace("\"data\"", "\"elsewhere\"")
            + "[audit]\norigin = \"other/audit\"\nsegment_mebibytes = 1\n\
               [disk]\nmanagement_reserve_percent = 7\n";
        fs::write(place.path("aap.toml"), text).unwrap();
        let loaded = place.follower.reload().unwrap();
        let keys = ["listen", "data_dir", "audit.origin", "audit", "disk"];
        assert_eq!(loaded.awaits_restart, keys);
        // The start's settings are what it is compared with, not those of the last load.
        assert_eq!(place.follower.reload().unwrap().awaits_restart, keys);
    }

    #[test]
    fn problems_for_the_log_show_no_line_of_the_file() {
        let mut place = Place::new();
        let broken = format!("{}aap_token", text(&["a"]));
        fs::write(place.path("aap.toml"), broken).unwrap();
        let problems = place.follower.reload().unwrap_err().problems();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.starts_with("line 8: ") && !problem.contains("aap_token"), "{problem}");
    }
}
