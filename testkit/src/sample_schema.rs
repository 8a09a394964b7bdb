//! The ERP-like sample database that the demo shows and the tests back up.

/// Makes the schema: one of each thing that a backup can get wrong.
pub const SCHEMA: &str = include_str!("../../erpgo-dr-cli/src/demo/schema.sql");

/// Fills the schema; reads the setting `erp.scale`.
const FILL: &str = include_str!("../../erpgo-dr-cli/src/demo/fill.sql");

/// The schemas that it makes.
pub const SCHEMAS: [&str; 2] = ["erp", "audit"];

/// The name of the table whose name and column names need every kind of quoting.
pub const ODD_TABLE: &str = r#"erp."Odd ""names"" and types""#;

/// Returns the SQL that makes and fills the sample, for any client (no psql commands).
///
/// A `scale` of 1 is about 4 MB on disk (1 MB of plain dump), and each step more adds about 2.2 MB. The same scale
/// gives the same rows on every server.
pub fn sql(scale: u32) -> String {
    format!("{SCHEMA}\nSET erp.scale = '{scale}';\n{FILL}")
}
