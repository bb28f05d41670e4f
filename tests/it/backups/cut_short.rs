//! Backups that don't come to their end: nothing is taken for one, and the turn is somebody else's.

use std::{
    fs,
    io::Read as _,
    net::SocketAddr,
    num::NonZeroUsize,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use aap::{
    api::pb::{
        self,
        backup_service_server::{BackupService, BackupServiceServer},
    },
    clock::Clock,
    domain::time::UnixNanos,
    service::watches::WatchLimits,
};
use tokio::net::TcpListener;
use tokio_stream::Iter;
use tonic::{
    Code, Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use super::{
    backed_up, command,
    online::{begin, filled, read_on},
    stopped,
};
use crate::support::{
    OPERATOR, Refusal, Setup, TestServer, clients::token_of, processes, server::PATIENCE,
    terminal::Said,
};

/// How long nothing may be read.
const LONGEST: i64 = 60;
/// How long is waited here: much is asked meanwhile, and a backup made.
const LONG: Duration = PATIENCE.saturating_mul(3);

/// A server whose clock is set, with more in it than anything on the way holds for who doesn't read.
struct Patient {
    server: TestServer,
    clock: Clock,
    /// How many seconds it has been set forward.
    passed: i64,
}

impl Patient {
    async fn start() -> Self {
        let clock = Clock::manual(UnixNanos(0));
        // Nobody is held up by a clock that stands still.
        let watches = WatchLimits { catch_up: NonZeroUsize::MAX, ..WatchLimits::default() };
        let setup = Setup { clock: clock.clone(), watches, ..Setup::new() };
        let server = filled(setup, 12).await;
        Self { server, clock, passed: 0 }
    }

    /// Lets time pass until somebody else can make a backup, and makes it.
    async fn until_another_is_made(&mut self) {
        let mut another = self.server.client_apart(OPERATOR).backups();
        let begun = tokio::time::timeout(LONG, async {
            loop {
                match another.stream_backup(pb::StreamBackupRequest {}).await {
                    Ok(begun) => break begun.into_inner(),
                    Err(status) => {
                        Refusal::of(&status).is(Code::ResourceExhausted, "BACKUP_RUNNING")
                    }
                };
                self.passed += 1;
                self.clock.set(UnixNanos(self.passed * 1_000_000_000));
            }
        });
        let begun = begun.await.expect("the turn is free again");
        assert!(self.passed >= LONGEST, "it was ended after {} s", self.passed);
        let read = tokio::time::timeout(LONG, read_on(begun));
        read.await.expect("it comes").expect("all of it comes");
    }
}

/// What who reads nothing is told.
pub async fn ended_when_not_read() -> Refusal {
    let mut patient = Patient::start().await;
    let unread = begin(&patient.server.client_apart(OPERATOR)).await;
    patient.until_another_is_made().await;
    // It is told as soon as it reads on, behind what was on its way.
    Refusal::of(&read_on(unread).await.unwrap_err())
}

#[tokio::test]
async fn who_reads_nothing_of_a_backup_gets_no_more_and_makes_room() {
    let refusal = ended_when_not_read().await;
    refusal.is(Code::DeadlineExceeded, "BACKUP_NOT_READ").has("seconds", "60");
}

#[tokio::test]
async fn a_command_whose_output_is_not_read_says_that_it_is_no_backup() {
    let mut patient = Patient::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = asking(patient.server.address(), dir.path(), "-");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = processes::spawn(&mut command).unwrap();
    // It has begun when something comes.
    let mut output = child.stdout.take().unwrap();
    let begun = tokio::task::spawn_blocking(move || {
        output.read_exact(&mut [0; 1]).unwrap();
        output
    });
    let mut output = begun.await.unwrap();
    patient.until_another_is_made().await;
    let ended = tokio::task::spawn_blocking(move || {
        output.read_to_end(&mut Vec::new()).unwrap();
        child.wait_with_output().unwrap()
    });
    let ended = ended.await.unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(6), "{told}");
    assert!(told.contains("nothing of the backup was read for 60 s"), "{told}");
    assert!(told.contains("is no backup: throw it away"), "{told}");
}

/// The command that has a server back up.
fn asking(address: SocketAddr, directory: &Path, to: &str) -> Command {
    let mut command = command(directory, &["backup", "--to", to]);
    command.env("AAP_SERVER", format!("http://{address}"));
    command.env("AAP_TOKEN", token_of(OPERATOR)).env("HOME", directory);
    command
}

type Part = Result<pb::StreamBackupResponse, Status>;

/// Gives the same parts to everybody.
#[derive(Clone, Debug)]
struct Fixed(Vec<Part>);

#[tonic::async_trait]
impl BackupService for Fixed {
    type StreamBackupStream = Iter<std::vec::IntoIter<Part>>;

    async fn stream_backup(
        &self,
        _: Request<pb::StreamBackupRequest>,
    ) -> Result<Response<Self::StreamBackupStream>, Status> {
        Ok(Response::new(tokio_stream::iter(self.0.clone())))
    }
}

/// Has a command make a backup of what a server sends: some bytes, and then its end.
async fn make_of(bytes: &[u8], end: Result<(), Status>, to: (&Path, &'static str)) -> Said {
    let mut parts = vec![Ok(pb::StreamBackupResponse::default())];
    parts.extend(
        bytes.chunks(100_000).map(|content| {
            Ok(pb::StreamBackupResponse { extent: None, content: content.to_vec() })
        }),
    );
    parts.extend(end.err().map(Err));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::builder().add_service(BackupServiceServer::new(Fixed(parts)));
    let serving = tokio::spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
    let mut command = asking(address, to.0, to.1);
    if to.1 == "-" {
        command.stdout(fs::File::create(to.0.join("output")).unwrap());
    } else {
        command.stdout(Stdio::null());
    }
    let said = tokio::task::spawn_blocking(move || said_by(&mut command)).await.unwrap();
    serving.abort();
    said
}

/// Runs a command whose output goes elsewhere; what it says on its standard error.
fn said_by(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let output = processes::spawn(command).unwrap().wait_with_output().unwrap();
    Said { text: String::from_utf8(output.stderr).unwrap(), code: output.status.code().unwrap() }
}

#[tokio::test]
async fn what_a_server_does_not_send_to_its_end_is_never_kept_nor_called_a_backup() {
    let setup = stopped().await;
    let from = backed_up(&setup);
    let whole = fs::read(from.path().join("b")).unwrap();
    let lost = || Err(Status::unavailable("the server is stopping"));
    let cases = [
        (whole.clone(), Ok(()), 0, ""),
        (whole[..whole.len() / 2].to_vec(), Ok(()), 1, "it ends at byte"),
        (whole[..whole.len() - 1].to_vec(), Ok(()), 1, "it ends at byte"),
        (Vec::new(), Ok(()), 1, "it ends at byte 0"),
        ([&whole[..], b"more"].concat(), Ok(()), 1, "it ends at byte"),
        ([&whole[..], &[0; 512]].concat(), Ok(()), 1, "there are zeros where a file should be"),
        (whole[..whole.len() / 2].to_vec(), lost(), 6, "the server is stopping"),
        (whole.clone(), lost(), 6, "the server is stopping"),
    ];
    for (bytes, end, code, wanted) in cases {
        for (to, left) in
            [("b", "nothing of it is kept: there is no `b`"), ("-", "is no backup: throw it away")]
        {
            let dir = tempfile::tempdir().unwrap();
            let said = make_of(&bytes, end.clone(), (dir.path(), to)).await;
            assert_eq!(said.code, code, "{}", said.text);
            let files: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
            if code == 0 {
                let [Ok(file)] = &files[..] else { panic!("{files:?}") };
                assert_eq!(fs::read(file.path()).unwrap(), whole);
                continue;
            }
            assert!(said.text.contains(wanted) && said.text.contains(left), "{}", said.text);
            assert_eq!(files.len(), usize::from(to == "-"), "nothing is left: {files:?}");
        }
    }
}
