//! `aap client-key issue` and `aap client-key rotate`: where what is secret in an answer goes.
//!
//! Files are made before the key is: what can't be kept is never asked for.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use crate::api::pb::{self, ClientKeyState};

use super::{
    super::{
        failure::Failure,
        output::{Format, Style, styled},
        remote::{Place, Remote, Target, answered, block_on, unless_interrupted},
        resource::{self, Kind},
        say,
        secrets::{NewFile, PasswordSource, has_terminal, read_password, show_password},
    },
    Common, Manner,
    client_key::{self, Validity, keys_of, short, tell},
};

/// A client key to issue.
#[derive(Args, Debug)]
pub(in crate::cli) struct IssueClientKey {
    /// Its access point: the short name, or in full.
    access_point: String,
    /// The client-key file to write, for the application; it must not be there yet.
    #[arg(long, value_name = "FILE", required_unless_present = "validate_only")]
    to: Option<PathBuf>,
    /// Write what is in it as PKCS#12, too, for tools that read that; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    pkcs12_to: Option<PathBuf>,
    /// The file to write its password to, which must not be there yet; without it, the password is
    /// shown on the terminal.
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    password_to: Option<PathBuf>,
    /// A file with a password of your own in its first line; `-` is the standard input. Without it,
    /// the server makes one.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Its algorithm [default: rsa-2048, or that of the key whose place it takes].
    #[arg(long, value_enum)]
    algorithm: Option<Algorithm>,
    /// How it is packed.
    #[arg(long, value_enum, default_value_t)]
    encoding: Encoding,
    #[command(flatten)]
    validity: Validity,
    #[command(flatten)]
    manner: Manner,
}

/// Keys that are made.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Algorithm {
    /// RSA of 2,048 bits.
    #[value(name = "rsa-2048")]
    Rsa2048,
    /// RSA of 3,072 bits.
    #[value(name = "rsa-3072")]
    Rsa3072,
    /// The curve P-256.
    #[value(name = "ec-p256")]
    EcP256,
}

/// How keys are packed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Encoding {
    /// With AES-256 and SHA-256.
    #[default]
    Modern,
    /// With triple DES and SHA-1, for readers that know nothing newer, such as the SDK for Go.
    Compatible,
}

/// Where what is secret goes.
#[derive(Debug)]
pub(super) struct Places {
    file: NewFile,
    pkcs12: Option<NewFile>,
    /// Nothing if it is somebody's own, or goes to the terminal.
    password: Option<NewFile>,
}

/// What an access point had before a rotation.
struct Before {
    keys: Vec<pb::ClientKey>,
}

pub(super) fn issue(arguments: &IssueClientKey) -> anyhow::Result<()> {
    let target = arguments.remote().target()?;
    let request = arguments.request(&target.place)?;
    arguments.carry_out(&target, request, "issued").map(drop)
}

/// Issues a key beside those that there are.
pub(super) fn rotate(arguments: &IssueClientKey) -> anyhow::Result<()> {
    let target = arguments.remote().target()?;
    let mut request = arguments.request(&target.place)?;
    let parent = request.parent.clone();
    let keys = block_on(async { keys_of(&target.connect().await?, &parent).await })?;
    let before = Before { keys };
    let Some(latest) = before.latest() else {
        let remedy =
            format!("issue its first one: aap client-key issue {}", arguments.access_point);
        let message = format!("`{}` has no client key to rotate", arguments.access_point);
        return Err(Failure::conflict(message, vec![remedy]).into());
    };
    if arguments.algorithm.is_none() {
        request.algorithm = like(latest).into();
    }
    let key = arguments.carry_out(&target, request, "issued")?;
    if arguments.output() == Format::Table && !key.name.is_empty() {
        before.say_what_remains(arguments);
    }
    Ok(())
}

impl IssueClientKey {
    fn remote(&self) -> &Remote {
        &self.manner.common.remote
    }

    fn output(&self) -> Format {
        self.manner.common.output.format
    }

    fn request(&self, place: &Place) -> anyhow::Result<pb::IssueClientKeyRequest> {
        let Self { access_point, password_file, algorithm, encoding, validity, manner, .. } = self;
        let Manner { validate_only, request_id, common: Common { .. } } = manner;
        let password = match password_file {
            Some(file) => read_password(PasswordSource::File(file))?,
            None => Zeroizing::default(),
        };
        let algorithm = match algorithm {
            None => pb::ClientKeyAlgorithm::Unspecified,
            Some(Algorithm::Rsa2048) => pb::ClientKeyAlgorithm::Rsa2048,
            Some(Algorithm::Rsa3072) => pb::ClientKeyAlgorithm::Rsa3072,
            Some(Algorithm::EcP256) => pb::ClientKeyAlgorithm::EcP256,
        };
        let encoding = match encoding {
            Encoding::Modern => pb::ClientKeyEncoding::Modern,
            Encoding::Compatible => pb::ClientKeyEncoding::Compatible,
        };
        let (not_before_time, not_after_time) = validity.times();
        Ok(pb::IssueClientKeyRequest {
            parent: Kind::AccessPoint.name(place, access_point)?,
            algorithm: algorithm.into(),
            encoding: encoding.into(),
            password: password.to_string(),
            not_before_time,
            not_after_time,
            request_id: request_id.clone(),
            validate_only: *validate_only,
        })
    }

    /// Has a key made, keeps what is secret of it, and says so.
    fn carry_out(
        &self,
        target: &Target,
        request: pb::IssueClientKeyRequest,
        verb: &str,
    ) -> anyhow::Result<pb::ClientKey> {
        let key = have_issued(target, request, || self.places())?;
        tell(self.output(), &key, verb)?;
        Ok(key)
    }

    fn places(&self) -> anyhow::Result<Option<Places>> {
        let Self { to, pkcs12_to, password_to, password_file, manner, .. } = self;
        let Some(file) = to.as_ref().filter(|_| !manner.validate_only) else { return Ok(None) };
        if password_file.is_none() && password_to.is_none() && !has_terminal() {
            let remedies = vec![
                "there is no terminal to show it on: name a file with --password-to".to_owned(),
                "or bring a password of your own with --password-file".to_owned(),
            ];
            return Err(Failure::invalid("where is the password to go?", remedies).into());
        }
        Places::make(file, pkcs12_to.as_deref(), password_to.as_deref()).map(Some)
    }
}

/// Has a key made, and keeps what is secret of it in places that are made before.
pub(super) fn have_issued(
    target: &Target,
    request: pb::IssueClientKeyRequest,
    places: impl FnOnce() -> anyhow::Result<Option<Places>>,
) -> anyhow::Result<pb::ClientKey> {
    let access_point = resource::short(&request.parent).to_owned();
    let interrupted = || {
        let remedy =
            format!("see if one is there that nobody has: aap client-key list {access_point}");
        Failure::interrupted("interrupted while the client key was made", vec![remedy])
    };
    block_on(unless_interrupted(interrupted, async {
        let places = places()?;
        let mut client = client_key::client(&target.connect().await?);
        let answer = answered(client.issue_client_key(request).await)?;
        let pb::IssueClientKeyResponse { client_key, client_key_file, pkcs12, password } = answer;
        let key = client_key.unwrap_or_default();
        let (file, pkcs12) = (Zeroizing::new(client_key_file), Zeroizing::new(pkcs12));
        let password = Zeroizing::new(password);
        if let Some(places) = places {
            places.keep(&file, &pkcs12, &password).map_err(|error| lost(&key, &error))?;
        }
        Ok(key)
    }))
}

impl Places {
    /// Makes the files, none of which may be there.
    pub(super) fn make(
        file: &Path,
        pkcs12: Option<&Path>,
        password: Option<&Path>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            file: NewFile::make(file)?,
            pkcs12: pkcs12.map(NewFile::make).transpose()?,
            password: password.map(NewFile::make).transpose()?,
        })
    }

    fn keep(self, file: &str, pkcs12: &[u8], password: &str) -> anyhow::Result<()> {
        let Self { file: to_file, pkcs12: to_pkcs12, password: to_password } = self;
        to_file.write(file.as_bytes())?;
        if let Some(to_pkcs12) = to_pkcs12 {
            to_pkcs12.write(pkcs12)?;
        }
        match to_password {
            Some(to_password) => to_password.write(format!("{password}\n").as_bytes()),
            None => {
                if !password.is_empty() {
                    show_password(password);
                }
                Ok(())
            }
        }
    }
}

/// The key is there, but nobody has it.
fn lost(key: &pb::ClientKey, error: &anyhow::Error) -> Failure {
    let name = short(&key.name);
    let remedy = format!("its secret is lost: aap client-key delete {name}");
    Failure::failed(format!("client key `{name}` was issued, but {error:#}"), vec![remedy])
}

/// The algorithm of a key, or one that is no weaker and can be made.
fn like(key: &pb::ClientKey) -> pb::ClientKeyAlgorithm {
    match (key.r#type(), key.bits) {
        (pb::ClientKeyType::EcP256, _) => pb::ClientKeyAlgorithm::EcP256,
        (_, ..=2_048) => pb::ClientKeyAlgorithm::Rsa2048,
        _ => pb::ClientKeyAlgorithm::Rsa3072,
    }
}

impl Before {
    /// The one that was made last.
    fn latest(&self) -> Option<&pb::ClientKey> {
        let made =
            |key: &&pb::ClientKey| key.create_time.as_ref().map(|time| (time.seconds, time.nanos));
        self.keys.iter().max_by_key(made)
    }

    fn say_what_remains(&self, arguments: &IssueClientKey) {
        let heading = |text: &str| styled(Style::Heading, text);
        say(format_args!("\n{}", heading("Keys of before")));
        client_key::table(&self.keys).print();
        say(format_args!("\n{}", heading("What remains to be done")));
        let file = arguments.to.as_ref().map(|path| path.display().to_string());
        say(format_args!(
            "1. Give the application `{}` and its password.",
            file.unwrap_or_default()
        ));
        let mut number = 2;
        for key in &self.keys {
            let name = short(&key.name);
            if key.state() == ClientKeyState::Enabled {
                let last = key.last_use_time.map_or("never".to_owned(), |time| time.to_string());
                say(format_args!(
                    "{number}. When the new key is in use, and the old one isn't any more:\n   \
                     aap client-key disable {name}\n   \
                     (to take it back: aap client-key enable {name})\n   \
                     It was last used: {last}. `aap client-key get` tells, to the hour."
                ));
                number += 1;
            }
            say(format_args!(
                "{number}. When nothing has missed it:\n   aap client-key delete {name}"
            ));
            number += 1;
        }
    }
}
