//! What a store that is far away costs us: an S3 server on this machine, with latency added on the way to it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use erpgo_dr_benches::children;
use erpgo_dr_benches::latency::delayed;
use erpgo_dr_benches::tool::Tool;
use erpgo_dr_testkit::SeaweedFs;

use crate::LEVEL;
use crate::cluster::Cluster;
use crate::folders::clear;
use crate::table::Table;

/// On the way there, and on the way back: 20 ms until an answer.
const ONE_WAY: Duration = Duration::from_millis(10);

/// Takes and restores a full backup here and there. The S3 server's own work counts against us, for it needs the same cores.
pub(crate) fn measure(table: &mut Table, cluster: &Cluster, folder: &Path, rounds: usize) -> io::Result<()> {
    let store = SeaweedFs::start();
    store.create_bucket("erp");
    let home = folder.join("far");
    fs::create_dir(&home)?;
    let credentials = [("AWS_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SeaweedFs::SECRET_KEY)];
    let tool = Tool::new(&home, &cluster.server)?.with_environment(credentials);
    let mut place = |name: &str, port: u16, round: usize| -> io::Result<f64> {
        let config =
            format!("[storage.s3]\nendpoint = \"http://127.0.0.1:{port}\"\nregion = \"{}\"\n", SeaweedFs::REGION);
        fs::write(home.join("erpgo-dr.toml"), config)?;
        let local = home.join("here");
        let address = match name {
            "here" => local.display().to_string(),
            _ => format!("s3://erp/{name}-{round}"),
        };
        if local.exists() {
            clear(&local)?;
        }
        let target = home.join("restored");
        let run = |arguments: &[&str]| {
            let mut command = tool.open_at(&address);
            command.args(arguments);
            children::run(vec![command])
        };
        tool.init_at(&address)?;
        let backup = run(&["cluster", "backup", "--full", "--codec", &format!("zstd:{LEVEL}")])?;
        let restore = ["cluster", "restore", "latest", "--no-archive", "--immediate", "--data-dir"];
        let restore = run(&[&restore[..], &[&target.display().to_string()]].concat())?;
        clear(&target)?;
        table.add(&format!("full, store: {name}"), "erpgo-dr", backup, None);
        table.add(&format!("restore, store: {name}"), "erpgo-dr", restore, None);
        Ok(backup.wall + restore.wall)
    };
    let far = delayed(store.port(), ONE_WAY)?;
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let here = place("here", store.port(), round)?;
        let near = place("S3", store.port(), round)?;
        let away = place("S3 20 ms away", far, round)?;
        ratios.push((away / here, away / near));
    }
    for (to_here, to_near) in ratios {
        table.ratio("s3_latency_ratio", to_here);
        table.ratio("s3_latency_ratio_to_s3", to_near);
    }
    Ok(())
}
