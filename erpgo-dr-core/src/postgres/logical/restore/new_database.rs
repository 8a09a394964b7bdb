//! A database that a restore makes: until it is whole it is the restore's own, and goes again with it.

use tokio::task::JoinHandle;

use super::super::super::{ConnectionSettings, PostgresError, quoting};
use super::super::LogicalDriver;
use super::globals::describe;
use crate::cleanup::Cleanups;

/// A database that was not there before. Dropping it before [`keep`](Self::keep) drops the database in the background.
#[derive(Debug)]
pub(super) struct NewDatabase {
    settings: ConnectionSettings,
    name: String,
    /// `None` where the whole server goes.
    cleanups: Option<Cleanups>,
    /// Runs until the server has answered.
    creation: Option<JoinHandle<Result<(), PostgresError>>>,
    is_ours: bool,
}

impl NewDatabase {
    /// Makes the database by `sql`.
    ///
    /// A server goes on with that for a client that has gone, and only its answer tells whether the database is ours: so the
    /// answer is waited for by a task that nobody drops.
    pub(super) async fn create(driver: &LogicalDriver, name: &str, sql: String) -> Result<Self, PostgresError> {
        let session = driver.settings.connect().await?;
        let action = format!("create database {name}");
        let (server, failed) = (session.server().to_owned(), session.query_error(&action));
        let creation = tokio::spawn(async move {
            let created = session.batch_execute(&sql).await;
            session.close().await;
            created.map_err(failed)
        });
        let mut new = Self {
            settings: driver.settings.clone(),
            name: name.to_owned(),
            cleanups: driver.cleanups.clone(),
            creation: Some(creation),
            is_ours: false,
        };
        if let Some(creation) = &mut new.creation {
            let created = creation.await;
            new.creation = None;
            created.map_err(|error| PostgresError::Query { server, action, source: error.into() })??;
        }
        new.is_ours = true;
        Ok(new)
    }

    /// Leaves the database where it is: it is whole.
    pub(super) fn keep(mut self) {
        self.is_ours = false;
    }

    /// Drops the database after a failure, and returns that failure, or one that names what stays behind.
    pub(super) async fn give_up(mut self, cause: PostgresError) -> PostgresError {
        let dropped = drop_database(&self.settings, &self.name).await;
        self.is_ours = false;
        match dropped {
            Ok(()) => cause,
            Err(error) => PostgresError::LeftBehind {
                server: self.settings.to_string(),
                database: self.name.clone(),
                reason: describe(&error),
                source: Box::new(cause),
            },
        }
    }
}

impl Drop for NewDatabase {
    fn drop(&mut self) {
        let creation = self.creation.take();
        if !self.is_ours && creation.is_none() {
            return;
        }
        let Some(cleanups) = &self.cleanups else { return };
        let (settings, name) = (self.settings.clone(), self.name.clone());
        let debt = cleanups.owe(format!("database {name} (connected to {settings}), restored in part"));
        cleanups.spawn(async move {
            let is_ours = match creation {
                Some(creation) => matches!(creation.await, Ok(Ok(()))),
                None => true,
            };
            if is_ours && let Err(error) = drop_database(&settings, &name).await {
                let error = describe(&error);
                return tracing::warn!(database = name, error, "a database restored in part stays behind");
            }
            debt.settled();
        });
    }
}

async fn drop_database(settings: &ConnectionSettings, name: &str) -> Result<(), PostgresError> {
    // Not the session that the restore had: it may have been lost together with what failed.
    let session = settings.connect().await?;
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoting::identifier(name));
    let dropped = session.batch_execute(&sql).await.map_err(session.query_error("drop the database"));
    session.close().await;
    dropped
}
