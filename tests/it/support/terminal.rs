//! The program as a person sees it, on a terminal of 80 columns, and as a script does, in a pipe.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::processes;

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

/// Runs a command on a terminal of its own.
pub fn on_a_terminal(command: &mut Command) -> Said {
    typing(command, "", "")
}

/// The same, with a line typed once it has shown something.
pub fn typing(command: &mut Command, shown: &str, line: &str) -> Said {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = OpenOptions::new().read(true).write(true).open(name).unwrap();
    tcsetwinsize(&slave, size).unwrap();
    let stdio = || Stdio::from(slave.try_clone().unwrap());
    command.stdin(stdio()).stdout(stdio()).stderr(stdio());
    let mut child = processes::spawn(command).unwrap();
    // The command has copies, too, which end with the child.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(slave);
    let (mut bytes, mut master) = (Vec::new(), File::from(master));
    while !String::from_utf8_lossy(&bytes).contains(shown) {
        let mut byte = [0];
        master.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    master.write_all(line.as_bytes()).unwrap();
    // Once nobody has the other end any more, reading fails; what came before is there.
    let _ = master.read_to_end(&mut bytes);
    let code = child.wait().unwrap().code().unwrap();
    let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n").replace('\u{1b}', "\\e");
    Said { text, code }
}
