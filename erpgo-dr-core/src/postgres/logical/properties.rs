//! Reads what a database is like, so that it can be made anew under any name.

use super::super::connection::Client;
use super::super::{DatabaseGrant, DatabaseProperties, DatabaseSetting, Extension, PostgresError};

/// Reads the properties of the database that `client` is connected to.
pub(super) async fn read(client: &Client, major: u32) -> Result<DatabaseProperties, PostgresError> {
    let mut properties = read_database(client, major).await?;
    properties.settings = read_settings(client).await?;
    properties.grants = read_grants(client).await?;
    properties.extensions = read_extensions(client).await?;
    Ok(properties)
}

async fn read_database(client: &Client, major: u32) -> Result<DatabaseProperties, PostgresError> {
    let provider = if major >= 15 { "datlocprovider::text" } else { "'c'" };
    let locale = match major {
        17.. => "datlocale",
        15 | 16 => "daticulocale",
        _ => "NULL",
    };
    let rules = if major >= 16 { "daticurules" } else { "NULL" };
    let sql = format!(
        "SELECT pg_catalog.pg_get_userbyid(datdba)::text, pg_catalog.pg_encoding_to_char(encoding)::text,
                CASE {provider} WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
                datcollate::text, datctype::text, {locale}::text, {rules}::text,
                (SELECT spcname::text FROM pg_catalog.pg_tablespace AS t WHERE t.oid = dattablespace),
                datconnlimit, pg_catalog.shobj_description(d.oid, 'pg_database'),
                pg_catalog.pg_database_size(d.oid),
                (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata)
         FROM pg_catalog.pg_database AS d WHERE datname = pg_catalog.current_database()"
    );
    let row = client.query_one(&sql, &[]).await.map_err(client.query_error("read the database's properties"))?;
    Ok(DatabaseProperties {
        owner: row.get(0),
        encoding: row.get(1),
        locale_provider: row.get(2),
        collate: row.get(3),
        ctype: row.get(4),
        locale: row.get(5),
        icu_rules: row.get(6),
        tablespace: row.get(7),
        connection_limit: row.get(8),
        comment: row.get(9),
        size: row.get::<_, i64>(10).unsigned_abs(),
        large_objects: row.get::<_, i64>(11).unsigned_abs(),
        ..DatabaseProperties::default()
    })
}

async fn read_settings(client: &Client) -> Result<Vec<DatabaseSetting>, PostgresError> {
    let sql = "SELECT r.rolname::text, s.setting
        FROM pg_catalog.pg_db_role_setting AS d
        CROSS JOIN LATERAL pg_catalog.unnest(d.setconfig) WITH ORDINALITY AS s (setting, position)
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = d.setrole
        WHERE d.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
        ORDER BY r.rolname NULLS FIRST, s.position";
    let rows = client.query(sql, &[]).await.map_err(client.query_error("read the database's settings"))?;
    let setting = |row: &tokio_postgres::Row| {
        let (name, value) = row.get::<_, &str>(1).split_once('=')?;
        Some(DatabaseSetting { role: row.get(0), name: name.to_owned(), value: value.to_owned() })
    };
    Ok(rows.iter().filter_map(setting).collect())
}

async fn read_grants(client: &Client) -> Result<Option<Vec<DatabaseGrant>>, PostgresError> {
    let sql = "SELECT r.rolname::text, a.privilege_type, a.is_grantable, a.grantee IS NULL
        FROM pg_catalog.pg_database AS d
        LEFT JOIN LATERAL pg_catalog.aclexplode(d.datacl) AS a ON true
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE d.datname = pg_catalog.current_database() AND d.datacl IS NOT NULL
        ORDER BY 1, 2";
    let rows = client.query(sql, &[]).await.map_err(client.query_error("read the database's grants"))?;
    if rows.is_empty() {
        return Ok(None);
    }
    // An empty list of grants is one row of nulls: nobody may do anything.
    let held = rows.iter().filter(|row| !row.get::<_, bool>(3));
    let grant =
        |row: &tokio_postgres::Row| DatabaseGrant { grantee: row.get(0), privilege: row.get(1), grantable: row.get(2) };
    Ok(Some(held.map(grant).collect()))
}

async fn read_extensions(client: &Client) -> Result<Vec<Extension>, PostgresError> {
    let sql = "SELECT extname::text, extversion, nspname::text FROM pg_catalog.pg_extension AS e
        JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace ORDER BY 1";
    let rows = client.query(sql, &[]).await.map_err(client.query_error("list the extensions"))?;
    let extension = |row: &tokio_postgres::Row| Extension { name: row.get(0), version: row.get(1), schema: row.get(2) };
    Ok(rows.iter().map(extension).collect())
}
