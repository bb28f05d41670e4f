//! The program as a person sees it, on a terminal of 80 columns, and as a script does, in a pipe.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::{processes, server::PATIENCE};

/// What a command has said, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub code: i32,
}

/// Runs a command with pipes for everything it says.
pub fn in_a_pipe(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = processes::spawn(command).unwrap().wait_with_output().unwrap();
    let text = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
    Said { text, code: output.status.code().unwrap() }
}

/// Runs a command with a text in its pipe.
pub fn fed(command: &mut Command, text: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = processes::spawn(command).unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
    Said { text, code: output.status.code().unwrap() }
}

/// Runs a command with pipes for everything it says, and does what ctrl-c does once it has said
/// something.
pub fn interrupted(command: &mut Command, until: &str) -> Said {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = processes::spawn(command).unwrap();
    let (mut bytes, mut stdout) = (Vec::new(), child.stdout.take().unwrap());
    while !String::from_utf8_lossy(&bytes).ends_with(until) {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stdout.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    Said { text, code: child.wait().unwrap().code().unwrap() }
}

/// Runs a command on a terminal of its own.
pub fn on_a_terminal(command: &mut Command) -> Said {
    Terminal::start(command).end()
}

/// The same, with a line typed once it has shown something.
pub fn typing(command: &mut Command, shown: &str, line: &str) -> Said {
    let mut terminal = Terminal::start(command);
    terminal.answer(shown, line);
    terminal.end()
}

/// A terminal with a command that runs on it.
pub struct Terminal {
    child: Child,
    master: File,
    /// What comes from the command, as a thread reads it.
    output: Receiver<u8>,
    bytes: Vec<u8>,
    /// Behind what was waited for last.
    seen: usize,
}

impl Terminal {
    /// Starts a command on a terminal of its own.
    pub fn start(command: &mut Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(name).unwrap();
        tcsetwinsize(&slave, size).unwrap();
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = processes::spawn(command).unwrap();
        // The command has copies, too, which end with the child.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let master = File::from(master);
        let output = read_in_a_thread(master.try_clone().unwrap());
        Self { child, master, output, bytes: Vec::new(), seen: 0 }
    }

    /// Waits until something is shown, behind what was waited for before.
    pub fn wait_for(&mut self, shown: &str) {
        while !String::from_utf8_lossy(&self.bytes[self.seen..]).ends_with(shown) {
            match self.output.recv_timeout(PATIENCE) {
                Ok(byte) => self.bytes.push(byte),
                Err(_) => {
                    let _ = self.child.kill();
                    panic!("`{shown}` is not shown: {}", self.text());
                }
            }
        }
        self.seen = self.bytes.len();
    }

    /// Types a line, or what else has its end in it, once something is shown.
    pub fn answer(&mut self, shown: &str, line: &str) {
        self.wait_for(shown);
        self.master.write_all(line.as_bytes()).unwrap();
    }

    /// Does what ctrl-c does.
    pub fn interrupt(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits until the command has ended.
    pub fn end(mut self) -> Said {
        loop {
            match self.output.recv_timeout(PATIENCE) {
                Ok(byte) => self.bytes.push(byte),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("it doesn't end: {}", self.text());
                }
            }
        }
        let status = self.child.wait().unwrap();
        // As shells have it.
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap();
        Said { text: self.text(), code }
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        text.replace("\r\n", "\n").replace('\u{1b}', "\\e")
    }
}

/// Hands on what is read, until nobody has the other end any more and reading fails.
fn read_in_a_thread(mut master: File) -> Receiver<u8> {
    let (hand_on, output) = channel();
    thread::spawn(move || {
        let mut some = [0; 4_096];
        while let Ok(count @ 1..) = master.read(&mut some) {
            if some[..count].iter().any(|byte| hand_on.send(*byte).is_err()) {
                return;
            }
        }
    });
    output
}
