//! The server: started by `pg_ctl`, and watched by the file that its postmaster keeps.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, test_kill_process};

use super::super::programs::{Invocation, RunningProgram};
use super::super::throwaway::RunAs;
use super::super::{ClientPrograms, PostgresError};
use super::log::tail_since;

const PID_FILE: &str = "postmaster.pid";
/// Where util-linux has the program that takes on an account with its groups.
const SETPRIV: [&str; 2] = ["/usr/bin/setpriv", "/bin/setpriv"];

/// What a server is started with.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// How its programs are run.
    pub(crate) programs: ClientPrograms,
    /// Their folder.
    pub(crate) folder: PathBuf,
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Where the server writes to until its configuration says otherwise.
    pub(crate) log: PathBuf,
    /// The account that it runs as; `None` is the caller's own.
    pub(crate) account: Option<RunAs>,
    /// Parameters on its command line, over those of its files.
    pub(crate) settings: Vec<(String, String)>,
    /// What its commands find in their environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// What a postmaster says of itself in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Postmaster {
    /// Its process.
    pub(crate) pid: i32,
    /// The port, also of its socket.
    pub(crate) port: u16,
    /// The folder of its first socket, or else the address that it listens on.
    pub(crate) host: String,
    /// How far it is.
    pub(crate) phase: ServerPhase,
}

/// How far a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerPhase {
    /// Nobody can connect yet.
    Starting,
    /// It recovers, and its configuration lets nobody ask it meanwhile.
    Standby,
    /// It answers, and may recover still.
    Ready,
    /// It shuts down.
    Stopping,
}

impl Launch {
    /// Starts the server. The program that runs then ends when the server answers, or has ended; killing it leaves the server alone.
    pub(crate) fn start(&self, patience: Duration) -> Result<RunningProgram, PostgresError> {
        let mut invocation = self.invoke("pg_ctl");
        for (name, value) in &self.environment {
            invocation = invocation.variable(name, value);
        }
        let seconds = patience.as_secs().saturating_add(60).to_string();
        invocation
            .arguments(["start", "-s", "-w", "-t", &seconds, "-D"])
            .argument(&self.data)
            .argument("-l")
            .argument(&self.log)
            .arguments(["-o".to_owned(), self.options()])
            .spawn(false)
    }

    /// Prepares to run one of the programs as the account, with all of its groups: a key may be open to one of them only.
    pub(super) fn invoke(&self, program: &str) -> Invocation {
        let program = self.folder.join(program);
        let setpriv = SETPRIV.iter().map(Path::new).find(|path| path.is_file());
        match (self.account, setpriv) {
            (Some(account), Some(setpriv)) if account.user_name().is_some() => self
                .programs
                .invoke(setpriv)
                .argument(format!("--reuid={}", account.uid()))
                .argument(format!("--regid={}", account.gid()))
                .argument("--init-groups")
                .argument(program),
            (account, _) => self.programs.invoke(&program).account(account),
        }
    }

    /// Returns what the postmaster says of itself; `None` while it has said nothing, and when it has ended.
    pub(crate) fn postmaster(&self) -> Option<Postmaster> {
        let found = Postmaster::parse(&fs::read_to_string(self.data.join(PID_FILE)).ok()?)?;
        let pid = Pid::from_raw(found.pid)?;
        let is_gone = matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH));
        (!is_gone).then_some(found)
    }

    /// Reads the end of what the server has logged since it was started.
    pub(crate) fn log_tail(&self, begun: SystemTime) -> String {
        tail_since(&self.log, &self.data, begun)
    }

    /// Returns the shell's command that starts it again.
    pub(crate) fn start_command(&self) -> String {
        self.command(&format!("start -l {} -o {}", word(&self.log), quoted(&self.options())))
    }

    /// Returns the shell's command that stops it.
    pub(crate) fn stop_command(&self) -> String {
        self.command("stop -m fast")
    }

    fn command(&self, action: &str) -> String {
        let prefix = self.account.map_or_else(String::new, |account| match account.user_name() {
            Some(name) => format!("runuser -u {name} -- "),
            None => format!("setpriv --reuid={} --regid={} --clear-groups ", account.uid(), account.gid()),
        });
        format!("{prefix}{} -D {} {action}", word(&self.folder.join("pg_ctl")), word(&self.data))
    }

    /// The server's command line, of which `pg_ctl` makes a shell's. A `data_directory` in the configuration would win over `-D`.
    pub(in crate::postgres) fn options(&self) -> String {
        let data = ("data_directory".to_owned(), self.data.display().to_string());
        let settings = std::iter::once(&data).chain(&self.settings);
        settings.map(|(name, value)| format!("-c {name}={}", quoted(value))).collect::<Vec<_>>().join(" ")
    }
}

impl Postmaster {
    /// Reads the file `postmaster.pid`, as `src/include/utils/pidfile.h` of PostgreSQL has it; `None` while it is being written.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let phase = match *lines.get(7)? {
            "starting" => ServerPhase::Starting,
            "standby" => ServerPhase::Standby,
            "ready" => ServerPhase::Ready,
            "stopping" => ServerPhase::Stopping,
            _ => return None,
        };
        let host = match (*lines.get(4)?, *lines.get(5)?) {
            ("", "*" | "0.0.0.0" | "::" | "") => "localhost",
            ("", address) => address,
            (socket, _) => socket,
        };
        Some(Self {
            pid: lines.first()?.parse().ok()?,
            port: lines.get(3)?.parse().ok()?,
            host: host.to_owned(),
            phase,
        })
    }
}

fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    if text.chars().all(plain) { text } else { quoted(&text) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postmaster_is_known_once_its_file_is_whole() {
        let whole = "4711\n/data\n1764187200\n5433\n/run/postgresql\nlocalhost\n  1234 5678\nstandby \n";
        let found = Postmaster::parse(whole).unwrap();
        assert_eq!((found.pid, found.port, found.host.as_str()), (4711, 5433, "/run/postgresql"));
        assert_eq!(found.phase, ServerPhase::Standby);
        for end in 0..whole.len() - "standby \n".len() {
            assert_eq!(Postmaster::parse(&whole[..end]), None, "{:?}", &whole[..end]);
        }
        let without_socket = whole.replace("/run/postgresql", "").replace("localhost", "*");
        assert_eq!(Postmaster::parse(&without_socket).unwrap().host, "localhost");
    }

    #[test]
    fn values_reach_the_server_whole() {
        let launch = Launch {
            programs: ClientPrograms::new(),
            folder: "/usr/lib/postgresql/15/bin".into(),
            data: "/it's here".into(),
            log: "/log".into(),
            account: None,
            settings: vec![("port".to_owned(), "5433".to_owned())],
            environment: Vec::new(),
        };
        assert_eq!(launch.options(), r"-c data_directory='/it'\''s here' -c port='5433'");
        assert_eq!(launch.stop_command(), r"/usr/lib/postgresql/15/bin/pg_ctl -D '/it'\''s here' stop -m fast");
    }
}
