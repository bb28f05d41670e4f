//! Configuration files, as an operator writes them and writes them anew.

use std::{fmt::Write as _, fs, path::Path};

use aap::identity::token::TokenDigest;

use super::clients::token_of;

/// A configuration's text.
#[derive(Clone, Debug)]
pub struct Text(String);

impl Text {
    /// A configuration of a server on a port that the system chooses, without callers.
    pub fn new(data_dir: &Path) -> Self {
        Self(format!(
            "listen = [\"127.0.0.1:0\"]\ndata_dir = \"{}\"\n[audit]\nsegment_mebibytes = 1\n\
             [disk]\nmanagement_reserve_percent = 0\ncheck_reserve_percent = 0\n",
            data_dir.display()
        ))
    }

    /// With one more caller, whose token is that of its name.
    #[must_use]
    pub fn with(self, name: &str, rest: &str) -> Self {
        self.with_token(name, &token_of(name), rest)
    }

    /// With one more caller.
    #[must_use]
    pub fn with_token(mut self, name: &str, token: &str, rest: &str) -> Self {
        let digest = TokenDigest::of(token);
        write!(self.0, "[[callers]]\nname = \"{name}\"\ntoken_sha256 = \"{digest}\"\n{rest}\n")
            .unwrap();
        self
    }

    /// With something else before all tables.
    #[must_use]
    pub fn before(mut self, line: &str) -> Self {
        self.0.insert_str(0, &format!("{line}\n"));
        self
    }

    /// With something else at its end.
    #[must_use]
    pub fn and(mut self, rest: &str) -> Self {
        self.0.push_str(rest);
        self
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Puts it in a file's place at once.
    pub fn replace(&self, path: &Path) {
        let new = path.with_extension("new");
        fs::write(&new, &self.0).unwrap();
        fs::rename(new, path).unwrap();
    }
}
