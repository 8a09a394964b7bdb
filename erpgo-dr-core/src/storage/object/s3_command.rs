//! Credentials of S3 that a command prints, by the rules of `credential_process`:
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use serde::Deserialize;
use tokio::sync::Mutex;

/// How long the command may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long before they end credentials are renewed.
const RENEWAL: TimeDelta = TimeDelta::minutes(5);

/// Runs a command for credentials, and again shortly before they end.
pub(super) struct CommandCredentials {
    argv: Vec<String>,
    known: Mutex<Option<Known>>,
}

struct Known {
    credential: Arc<AwsCredential>,
    renew_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for CommandCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandCredentials").field("program", &self.argv.first()).finish_non_exhaustive()
    }
}

impl CommandCredentials {
    pub(super) fn new(argv: Vec<String>) -> Self {
        Self { argv, known: Mutex::default() }
    }

    async fn run(&self) -> Result<Known, String> {
        let (program, arguments) = self.argv.split_first().ok_or("its command is empty")?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.map_err(|_| format!("{program} took more than {PATIENCE:?}"))?;
        let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("{program} failed ({}): {said}", output.status));
        }
        // What serde says may quote what it read, and that is the secret.
        let printed: Printed = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{program} printed no credentials (line {})", error.line()))?;
        if printed.version != 1 {
            return Err(format!("{program} printed credentials of version {}, not 1", printed.version));
        }
        let credential = AwsCredential {
            key_id: printed.access_key_id,
            secret_key: printed.secret_access_key,
            token: printed.session_token,
        };
        let renew_at = printed.expiration.map(|end| end - RENEWAL);
        Ok(Known { credential: Arc::new(credential), renew_at })
    }
}

#[async_trait]
impl CredentialProvider for CommandCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.renew_at.is_none_or(|at| Utc::now() < at)) {
            return Ok(Arc::clone(&known.credential));
        }
        let fresh = self.run().await.map_err(|reason| object_store::Error::Unauthenticated {
            path: "credentials".to_owned(),
            source: reason.into(),
        })?;
        let credential = Arc::clone(&fresh.credential);
        *known = Some(fresh);
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> CommandCredentials {
        CommandCredentials::new(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[tokio::test]
    async fn credentials_are_kept_until_they_end() {
        let folder = tempfile::tempdir().unwrap();
        let calls = folder.path().join("calls");
        let print = |end: &str| {
            shell(&format!(
                "echo x >>{}; echo '{{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"s\",\
                 \"Expiration\":\"{end}\"}}'",
                calls.display()
            ))
        };
        let count = || std::fs::read_to_string(&calls).unwrap().lines().count();
        let lasting = print("2999-01-01T00:00:00Z");
        for _ in 0..3 {
            assert_eq!(lasting.get_credential().await.unwrap().secret_key, "s");
        }
        assert_eq!(count(), 1);
        let ended = print("2020-01-01T00:00:00Z");
        ended.get_credential().await.unwrap();
        ended.get_credential().await.unwrap();
        assert_eq!(count(), 3);
    }

    #[tokio::test]
    async fn a_failure_tells_what_the_command_said_but_never_what_it_printed() {
        let error = shell("echo no entry >&2; exit 3").get_credential().await.unwrap_err().to_string();
        assert!(error.contains("no entry"), "{error}");
        let error = shell("echo '{\"Version\":\"hush\"}'").get_credential().await.unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}
