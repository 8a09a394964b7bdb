//! A host as the pages take it for granted: a server with the database `erp`, folders, and programs on the `PATH`.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions, give_all_to_postgres};

/// Folders of the pages, each of which lies below the stage.
const FOLDERS: [&str; 5] =
    ["/etc/erpgo-dr", "/var/backups", "/var/lib/postgresql", "/var/lib/erpgo-dr", "/var/tmp/erpgo-dr"];

/// A port of the pages, for a server that is brought back.
const SECOND_PORT: &str = "5499";

/// What the first page sets up, and the others take for granted.
const SET_UP: &str = r#"
erpgo-dr key generate /etc/erpgo-dr/key.txt
cat > /etc/erpgo-dr/erpgo-dr.toml <<END
repository = "/var/backups/erp"
keys.identities = ["/etc/erpgo-dr/key.txt"]
postgres.connection = "host=/run/postgresql user=postgres"
END
export ERPGO_DR_CONFIG=/etc/erpgo-dr/erpgo-dr.toml
erpgo-dr init --recipient "$(sed -n 's/^\# public key: //p' /etc/erpgo-dr/key.txt)"
"#;

/// A host of its own for a page.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
    pub(crate) server: PgServer,
    second_port: u16,
}

impl Stage {
    /// Has another tool archive, until a page sets ours: that there may be one takes a restart.
    pub(crate) fn new() -> Self {
        Self::with(PgServerOptions::new(17).setting("archive_mode", "on").setting("archive_command", "/bin/true"))
    }

    /// Has nothing be archived.
    pub(crate) fn without_archive() -> Self {
        Self::with(PgServerOptions::new(17))
    }

    fn with(options: PgServerOptions) -> Self {
        let server = options.start();
        server.create_sample("erp", 1);
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        for name in FOLDERS.iter().chain(&["/bin", "/home", "/var/backups/old"]) {
            std::fs::create_dir_all(folder.path().join(&name[1..])).unwrap();
        }
        std::fs::write(folder.path().join("etc/erpgo-dr/old-passphrase"), "an old passphrase\n").unwrap();
        let stage = Self { folder, server, second_port: free_port() };
        symlink(env!("CARGO_BIN_EXE_erpgo-dr"), stage.path("bin/erpgo-dr")).unwrap();
        // In place of the service manager: the settings of these pages need no more than that.
        stage.program("systemctl", "exec psql -d postgres -c 'SELECT pg_reload_conf()'");
        // There is no daemon to take it.
        stage.program("logger", "cat >/dev/null");
        give_all_to_postgres(stage.folder.path());
        stage
    }

    fn program(&self, name: &str, line: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the commands of a page, each of which must succeed; returns what they printed.
    pub(crate) fn run(&self, page: &str) -> String {
        self.shell(&commands_of(page))
    }

    /// As [`run`](Self::run), behind what the tutorial sets up.
    pub(crate) fn run_behind_set_up(&self, page: &str) -> String {
        self.shell(&format!("{SET_UP}{}", commands_of(page)))
    }

    fn shell(&self, commands: &str) -> String {
        let script = self.path("home/page.sh");
        std::fs::write(&script, self.here(commands)).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut shell: Command = erpgo_dr_testkit::unprivileged(Path::new("/bin/sh"));
        let path =
            format!("{}:{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display(), self.server.bin().display());
        shell.arg("-eux").arg(&script).current_dir(self.path("home"));
        shell.env("PATH", path).env("HOME", self.path("home")).stdin(std::process::Stdio::null());
        shell.env("PGHOST", self.server.socket_dir()).env("PGPORT", self.server.port().to_string());
        shell.env("PGUSER", "postgres");
        let output = shell.output().unwrap();
        let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}\n{told}\n{said}", output.status);
        told.into_owned()
    }

    /// Puts the page's places where they are on this stage.
    fn here(&self, commands: &str) -> String {
        let mut text = commands.to_owned();
        for folder in FOLDERS {
            text = text.replace(folder, &self.path(&folder[1..]).display().to_string());
        }
        let server = format!("host={} port={}", self.server.socket_dir().display(), self.server.port());
        text.replace("host=/run/postgresql", &server)
            .replace("/usr/bin/erpgo-dr", env!("CARGO_BIN_EXE_erpgo-dr"))
            .replace(SECOND_PORT, &self.second_port.to_string())
    }
}

/// A page that failed may have left a server behind.
impl Drop for Stage {
    fn drop(&mut self) {
        let restored = self.path("var/lib/postgresql/restored");
        if restored.join("postmaster.pid").exists() {
            let mut stop: Command = erpgo_dr_testkit::unprivileged(&self.server.bin().join("pg_ctl"));
            let _ = stop.args(["stop", "-m", "immediate", "-D"]).arg(restored).current_dir("/").output();
        }
    }
}

/// Takes the blocks marked `sh` out of a page.
pub(crate) fn commands_of(page: &str) -> String {
    let mut commands = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => commands.extend([line, "\n"]),
            _ => {}
        }
    }
    commands
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
