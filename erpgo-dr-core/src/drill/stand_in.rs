//! Stand-ins for what a runbook speaks to beside servers: applications that are well or not, and those who are told.
//!
//! An application is up while its file `NAME.up` is there, and well while the server that its file `NAME.env` names takes writes. It is
//! asked at `/NAME/health`, and at `/NAME/api` with a token. What is posted to `/notices` is kept in a file. Loopback only.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::ops;
use crate::postgres::ConnectionSettings;
use crate::topology::{Liveness, liveness};

/// What is kept of a request, in bytes.
const REQUEST: usize = 64 << 10;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the server of an application may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// The variable by which an application's file names its server.
const SERVER: &str = "POSTGRES_PRIMARY_HOST=";

/// Where notices are kept.
pub(super) const NOTICES: &str = "notices";

/// Answers as applications would. Dropping it ends that.
#[derive(Debug)]
pub(super) struct StandIn {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

/// What the applications are.
#[derive(Debug)]
pub(super) struct Applications {
    /// Where their files lie.
    pub(super) folder: PathBuf,
    /// The servers that they may work with.
    pub(super) servers: BTreeMap<String, ConnectionSettings>,
    /// What a signed-in user shows.
    pub(super) token: String,
}

impl StandIn {
    /// Begins to answer, at a port of the loopback that is free.
    pub(super) async fn start(applications: Arc<Applications>) -> ops::Result<Self> {
        let failed = |source| ops::Error::Io { action: "listen at the loopback".to_owned(), source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut answers = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let applications = Arc::clone(&applications);
                answers.spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, applications.answer(stream)).await;
                });
                while answers.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, _serving: serving })
    }

    /// Returns where it answers, with a slash at the end.
    pub(super) fn base(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Applications {
    async fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let Some(request) = read(&mut stream).await? else { return Ok(()) };
        let status = match (request.method.as_str(), request.path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["", name, "health"]) => {
                if self.is_well(name).await {
                    200
                } else {
                    503
                }
            }
            ("GET", ["", name, "api"]) => match request.token.as_deref() {
                Some(token) if token == self.token => {
                    if self.is_well(name).await {
                        200
                    } else {
                        503
                    }
                }
                _ => 401,
            },
            ("POST", ["", NOTICES]) => {
                self.keep(&request.body)?;
                200
            }
            _ => 404,
        };
        let answer = format!("HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }

    /// Returns whether an application is up, and the server that it was told of takes writes.
    pub(super) async fn is_well(&self, name: &str) -> bool {
        if !is_up(&self.folder, name) {
            return false;
        }
        let text = std::fs::read_to_string(self.folder.join(format!("{name}.env"))).unwrap_or_default();
        let server = text.lines().rev().find_map(|line| line.strip_prefix(SERVER)).map(str::trim);
        let Some(settings) = server.and_then(|server| self.servers.get(server)) else { return false };
        liveness(settings, ANSWER).await == Liveness::Primary
    }

    fn keep(&self, body: &[u8]) -> std::io::Result<()> {
        use std::io::Write as _;
        let mut file = std::fs::File::options().append(true).create(true).open(self.folder.join(NOTICES))?;
        file.write_all(&[body, b"\n"].concat())
    }
}

/// Returns whether an application is up.
fn is_up(folder: &Path, name: &str) -> bool {
    folder.join(format!("{name}.up")).exists()
}

struct Request {
    method: String,
    path: String,
    token: Option<String>,
    body: Vec<u8>,
}

/// Reads a request; `None` where there is none. Our own client is all that asks.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > REQUEST || stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize).min(REQUEST);
    let mut body = bytes.split_off(head + 4);
    while body.len() < length && stream.read_buf(&mut body).await? > 0 {}
    let token = headers.get("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    Ok(Some(Request { method, path, token, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_application_is_well_only_while_it_is_up_and_its_server_takes_writes() {
        let folder = tempfile::tempdir().unwrap();
        let servers = BTreeMap::from([("gone".to_owned(), ConnectionSettings::new("/nowhere"))]);
        let path = folder.path().to_owned();
        let applications = Applications { folder: path.clone(), servers, token: "t".to_owned() };
        let stand_in = StandIn::start(Arc::new(applications)).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let ask =
            async |path: &str| client.get(format!("{}{path}", stand_in.base())).send().await.unwrap().status().as_u16();
        assert_eq!(ask("api/health").await, 503);
        std::fs::write(path.join("api.up"), "").unwrap();
        std::fs::write(path.join("api.env"), "POSTGRES_PRIMARY_HOST=gone\n").unwrap();
        assert_eq!(ask("api/health").await, 503, "its server is not there");
        assert_eq!((ask("api/api").await, ask("etc/passwd").await), (401, 404));
        let told = client.post(format!("{}notices", stand_in.base())).body("{\"text\":\"x\"}").send().await.unwrap();
        assert_eq!(told.status().as_u16(), 200);
        assert_eq!(std::fs::read_to_string(path.join(NOTICES)).unwrap(), "{\"text\":\"x\"}\n");
    }
}
