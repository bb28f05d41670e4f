//! `aap context`: servers and callers by name, in a file of the person's own.
//!
//! The file holds no token, only where tokens are: it may be shown, copied and kept anywhere.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::{environment, failure::Failure, output::Table, say};

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the contexts; the current one is marked.
    List,
    /// Show one: the current one, if none is named.
    Show {
        /// Its name.
        name: Option<String>,
    },
    /// Make one the current one.
    Use {
        /// Its name.
        name: String,
    },
    /// Make a context, or change what is given of one. The first one becomes the current one.
    Set(SetArguments),
    /// Forget one.
    Delete {
        /// Its name.
        name: String,
    },
}

/// What a context is to have.
#[derive(Args, Debug)]
pub(super) struct SetArguments {
    /// Its name.
    name: String,
    /// The server, or several separated by commas.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The account that short names are in.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// The region that short names are in.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// A file with the caller's token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the authorities that vouch for the server.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A PEM file with the caller's certificate.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// A PEM file with the key of the caller's certificate.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What the server is called by applications that ask it for sessions.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
}

/// A server, a caller and a place.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Context {
    pub(super) server: Option<String>,
    pub(super) account: Option<String>,
    pub(super) region: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) audience: Option<String>,
}

/// All contexts.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Contexts {
    current: Option<String>,
    contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads the file; without one there are none.
    pub(super) fn load() -> anyhow::Result<Self> {
        let Some(path) = path() else { return Ok(Self::default()) };
        let failed = || format!("can't read contexts from `{}`", path.display());
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(failed),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(failed),
        }
    }

    /// The current one, if there is any.
    pub(super) fn current(&self) -> Option<&Context> {
        self.contexts.get(self.current.as_ref()?)
    }

    /// One by its name.
    pub(super) fn get(&self, name: &str) -> anyhow::Result<&Context> {
        let known = || {
            let names = self.contexts.keys().map(|name| format!("there is `{name}`")).collect();
            Failure::invalid(format!("there is no context `{name}`"), names).into()
        };
        self.contexts.get(name).ok_or_else(known)
    }

    /// Writes the file whole, or leaves it as it was.
    fn save(&self) -> anyhow::Result<()> {
        let path = path().context("no home: name a file in AAP_CONTEXTS")?;
        let failed = || format!("can't write contexts to `{}`", path.display());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
        file.write_all(toml::to_string(self)?.as_bytes()).with_context(failed)?;
        file.persist(&path).with_context(failed)?;
        Ok(())
    }
}

/// Where the contexts are: `AAP_CONTEXTS`, or `aap/contexts.toml` where configurations are kept.
fn path() -> Option<PathBuf> {
    let set = |name: &str| environment(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let kept = || set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    set("AAP_CONTEXTS").or_else(|| kept().map(|kept| kept.join("aap/contexts.toml")))
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    let mut contexts = Contexts::load()?;
    match command {
        Command::List => {
            list(&contexts);
            Ok(())
        }
        Command::Show { name } => {
            let name = name.or_else(|| contexts.current.clone());
            let name = name.context("there is no current context: `aap context use NAME`")?;
            say(toml::to_string(contexts.get(&name)?)?.trim_end());
            Ok(())
        }
        Command::Use { name } => {
            contexts.get(&name)?;
            contexts.current = Some(name);
            contexts.save()
        }
        Command::Set(arguments) => {
            set(&mut contexts, arguments)?;
            contexts.save()
        }
        Command::Delete { name } => {
            contexts.get(&name)?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
            contexts.save()
        }
    }
}

fn list(contexts: &Contexts) {
    let mut table = Table::new(["", "NAME", "SERVER", "ACCOUNT", "REGION"]);
    for (name, context) in &contexts.contexts {
        let mark = if contexts.current.as_ref() == Some(name) { "*" } else { "" };
        let Context { server, account, region, .. } = context;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        table.row([mark.to_owned(), name.clone(), text(server), text(account), text(region)]);
    }
    table.print();
}

fn set(contexts: &mut Contexts, arguments: SetArguments) -> anyhow::Result<()> {
    let SetArguments { name, server, account, region, token_file, ca, certificate, key, audience } =
        arguments;
    // It is to be found from everywhere.
    let absolute = |path: Option<PathBuf>| {
        path.map(|path| {
            let found = fs::canonicalize(&path);
            found.with_context(|| format!("can't find `{}`", path.display()))
        })
        .transpose()
    };
    let old = contexts.contexts.get(&name).cloned().unwrap_or_default();
    let new = Context {
        server: server.or(old.server),
        account: account.or(old.account),
        region: region.or(old.region),
        token_file: absolute(token_file)?.or(old.token_file),
        ca: absolute(ca)?.or(old.ca),
        certificate: absolute(certificate)?.or(old.certificate),
        key: absolute(key)?.or(old.key),
        audience: audience.or(old.audience),
    };
    if new.certificate.is_some() != new.key.is_some() {
        bail!("a certificate and its key belong together: name both");
    }
    contexts.contexts.insert(name.clone(), new);
    contexts.current.get_or_insert(name);
    Ok(())
}
