//! Real database servers on free ports of the loopback, in folders of their own, gone when they are dropped.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB, which speaks MySQL's protocol.
    MariaDb,
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "postgres" => Ok(Self::Postgres),
            "mariadb" => Ok(Self::MariaDb),
            _ => Err(format!("`{name}` is no database server that is known here: postgres, mariadb")),
        }
    }
}

/// The password of the user `dil`.
pub const PASSWORD: &str = "not-a-real-one";

/// A server with an empty database.
#[derive(Debug)]
pub struct Database {
    kind: Kind,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Database {
    /// Sets one up and starts it.
    ///
    /// # Panics
    /// If it is not installed, or does not start.
    pub fn start(kind: Kind) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let port = port.expect("a free port").port();
        let folder = std::env::temp_dir().join(format!("dil-database-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut database = Self { kind, folder, port, child: None };
        match kind {
            Kind::Postgres => database.set_up_postgres(),
            Kind::MariaDb => database.set_up_mariadb(),
        }
        database.resume();
        database
    }

    /// Where it is, with the user and the password.
    pub fn url(&self) -> String {
        let scheme = if self.kind == Kind::Postgres { "postgres" } else { "mysql" };
        format!("{scheme}://dil:{PASSWORD}@127.0.0.1:{}/dil", self.port)
    }

    /// Starts it again after [`Database::stop`].
    pub fn resume(&mut self) {
        let data = self.folder.join("data");
        let mut command = match self.kind {
            Kind::Postgres => {
                let mut command = self.owned(&postgres_folder().join("postgres"));
                command.arg("-D").arg(&data).arg("-k").arg(&data).arg("-p").arg(self.port.to_string());
                // What is tested dies, not the server.
                command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
                command
            }
            Kind::MariaDb => {
                let mut command = mariadbd();
                command.arg(format!("--datadir={}", data.display())).arg(format!("--port={}", self.port));
                command.arg(format!("--socket={}", data.join("socket").display()));
                command.args(["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=2"]);
                command.arg(format!("--init-file={}", self.folder.join("users.sql").display()));
                command
            }
        };
        let log = std::fs::File::create(self.folder.join("log")).expect("a log file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log file")).stderr(log);
        self.child = Some(command.spawn().expect("the server starts"));
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(60), "the server does not answer\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        if self.kind == Kind::Postgres {
            let psql = postgres_folder().join("psql");
            let found = || {
                let mut command = Command::new(&psql);
                command.env("PGPASSWORD", PASSWORD).args(["-h", "127.0.0.1", "-U", "dil", "-p"]);
                command.arg(self.port.to_string()).args(["-d", "postgres", "-tAc"]);
                command
            };
            let database = "SELECT count(*) FROM pg_database WHERE datname = 'dil'";
            let mut there = String::new();
            while there.is_empty() {
                assert!(start.elapsed() < Duration::from_secs(60), "the server takes no statement");
                let output = found().arg(database).output().expect("psql runs");
                there = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            }
            if there == "0" {
                run(found().arg("CREATE DATABASE dil"));
            }
        }
    }

    /// Ends it at once, as a crash does.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Immediate shutdown of PostgreSQL, which takes its own children along; MariaDB has none.
        let signal = if self.kind == Kind::Postgres { Signal::QUIT } else { Signal::KILL };
        if let Some(id) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(id, signal);
        }
        let _ = child.wait();
    }

    fn set_up_postgres(&self) {
        if geteuid().is_root() {
            let (user, group) = unprivileged();
            std::os::unix::fs::chown(&self.folder, Some(user), Some(group))
                .expect("the folder changes hands");
        }
        let password = self.folder.join("password");
        std::fs::write(&password, PASSWORD).expect("a file can be written");
        let mut command = self.owned(&postgres_folder().join("initdb"));
        command.arg("-D").arg(self.folder.join("data")).args([
            "-U",
            "dil",
            "-A",
            "scram-sha-256",
            "--no-sync",
        ]);
        command.arg(format!("--pwfile={}", password.display()));
        run(&mut command);
    }

    fn set_up_mariadb(&self) {
        let data = self.folder.join("data");
        std::fs::create_dir_all(&data).expect("a folder");
        let mut script = "create database mysql;\nuse mysql;\nset @auth_root_socket=NULL;\n".to_owned();
        for part in
            ["mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"]
        {
            let path = Path::new("/usr/share/mysql").join(part);
            script.push_str(&std::fs::read_to_string(&path).expect("MariaDB's system tables"));
        }
        let path = self.folder.join("system.sql");
        std::fs::write(&path, script).expect("a file can be written");
        let mut command = mariadbd();
        command.arg(format!("--datadir={}", data.display())).args(["--bootstrap", "--log-warnings=0"]);
        command.stdin(std::fs::File::open(&path).expect("a file"));
        run(&mut command);
        let users = format!(
            "DROP USER IF EXISTS ''@localhost;\nDROP USER IF EXISTS dil@'%';\nCREATE USER dil@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO dil@'%';\n"
        );
        std::fs::write(self.folder.join("users.sql"), users).expect("a file can be written");
    }

    /// A command run by the owner of the folder: PostgreSQL does not run as root.
    fn owned(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder);
        if geteuid().is_root() {
            let (user, group) = unprivileged();
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|cause| panic!("running {command:?}: {cause}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{told}");
}

/// Where the newest PostgreSQL is installed.
fn postgres_folder() -> PathBuf {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: scripts/test-setup.sh");
    let newest = versions.filter_map(Result::ok).filter(|folder| folder.path().join("bin/initdb").exists());
    let number = |name: std::ffi::OsString| name.to_string_lossy().parse::<u32>().unwrap_or_default();
    let newest = newest.max_by_key(|folder| number(folder.file_name()));
    newest.expect("PostgreSQL's server is installed: scripts/test-setup.sh").path().join("bin")
}

fn mariadbd() -> Command {
    let mut command = Command::new("/usr/sbin/mariadbd");
    command.arg("--no-defaults");
    if geteuid().is_root() {
        command.arg("--user=root");
    }
    command
}

/// The numbers of the user and group `postgres`, which its package makes, else of `nobody`.
fn unprivileged() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody")).unwrap_or((65534, 65534))
}
