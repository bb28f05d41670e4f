"""Starts the programs of the examples, reads what they say, and ends them by their process ids."""

import os
import pathlib
import signal
import subprocess
import time

PATIENCE = 45


class Program:
    """One program that runs, and the file that has what it says."""

    def __init__(self, command, directory, environment, log):
        self.log_path = log
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def lines(self):
        return self.log_path.read_text().splitlines()

    def wait_for(self, what, after=0):
        """Waits until a line after so many has that; returns how many lines there are then."""
        found = until(lambda: any(what in line for line in self.lines()[after:]), self.ends_early)
        if not found:
            raise Failure(f"{self.log_path.name} does not say `{what}`:\n{self.tail(after)}")
        return len(self.lines())

    def tail(self, after=0):
        return "\n".join(self.lines()[after:][-20:])

    def ends_early(self):
        return self.process.poll() is not None

    def stop(self):
        """Tells it to end, and demands that it still ran and that it does."""
        if self.ends_early():
            raise Failure(f"{self.log_path.name} ended with {self.process.returncode}")
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.log_path.name} does not end on SIGTERM") from None

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)


class Failure(Exception):
    """Something isn't as it must be."""


def until(condition, hopeless=lambda: False):
    """Waits until a condition holds, for as long as there is hope; says whether it does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end or hopeless():
            return condition()
        time.sleep(0.05)
    return True


class Language:
    """The programs of one language, where its README has them built."""

    def __init__(self, name):
        self.name, self.directory = name, pathlib.Path("examples").resolve() / name
        self.environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        match name:
            case "python":
                self.command = lambda program: [".venv/bin/python", f"{program}.py"]
            case "go":
                self.command = lambda program: [f"bin/{program}"]
            case "node":
                self.command = lambda program: ["node", f"src/{program}.js"]
            case "java":
                java = ["java", "-cp", "target/classes:target/lib/*"]
                self.command = lambda program: [*java, f"aap.client.{program.capitalize()}"]
            case _:
                raise Failure(f"there is no example in {name}")

    def start(self, program, arguments, settings, log):
        environment = self.environment | settings
        return Program([*self.command(program), *arguments], self.directory, environment, log)

    def run(self, program, arguments, settings):
        """Runs a program to its end; returns its status and what it said."""
        done = subprocess.run(
            [*self.command(program), *arguments],
            cwd=self.directory,
            env=self.environment | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout, done.stderr
