"""A cluster that Patroni runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import erpgo_dr
import erpgo_dr.aio
import pytest
from conftest import ENVIRONMENT, give_to_postgres, ports, unprivileged, wait

USER, PASSWORD = "dr", "geheim-17"


@pytest.fixture(scope="module")
def url(scratch: Path) -> Iterator[str]:
    """Where a Patroni of one member is asked."""
    folder = scratch / "patroni"
    folder.mkdir()
    client, peer, rest, port = ports(4)
    urls = [f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"]
    etcd = [ENVIRONMENT["ETCD"], "--data-dir", str(folder / "etcd"), "--name", "etcd"]
    etcd += ["--listen-client-urls", urls[0], "--advertise-client-urls", urls[0], "--listen-peer-urls", urls[1]]
    etcd += ["--initial-advertise-peer-urls", urls[1], "--initial-cluster", f"etcd={urls[1]}"]
    account = "authentication: {superuser: {username: postgres}, replication: {username: postgres}}"
    (folder / "pg1.yml").write_text(
        f"""scope: drtest
name: pg1
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}', authentication: {{username: {USER}, password: {PASSWORD}}}}}
etcd3: {{host: '127.0.0.1:{client}'}}
bootstrap: {{dcs: {{ttl: 20, loop_wait: 1, retry_timeout: 3}}, initdb: [{{encoding: UTF8}}]}}
postgresql:
  listen: '127.0.0.1:{port}'
  connect_address: '127.0.0.1:{port}'
  data_dir: '{folder}/data'
  bin_dir: '{ENVIRONMENT["POSTGRES_15_BIN"]}'
  pgpass: '{folder}/pgpass'
  parameters: {{unix_socket_directories: '{folder}', fsync: 'off'}}
  {account}
  pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust']
"""
    )
    give_to_postgres(folder)
    with (scratch / "patroni.log").open("w") as log:
        running = [subprocess.Popen(etcd, stderr=log, **unprivileged(folder))]
        agent = [ENVIRONMENT["PATRONI"], str(folder / "pg1.yml")]
        running.append(subprocess.Popen(agent, stderr=log, env={**os.environ, "HOME": "/"}, **unprivileged(folder)))
    address = f"http://127.0.0.1:{rest}"

    def leads() -> bool:
        try:
            members = erpgo_dr.ha_cluster(erpgo_dr.Patroni([address]))["members"]
        except erpgo_dr.ErpgoDrError:
            return False
        return [(member["role"], member["state"]) for member in members] == [("leader", "running")]

    try:
        wait("Patroni", leads, 180)
        yield address
    finally:
        # Killed, the agent cannot leave its server in whatever state it thinks right: that is ended by itself.
        lock = folder / "data/postmaster.pid"
        server = int(lock.read_text().split()[0]) if lock.exists() else None
        for process in reversed(running):
            process.kill()
            process.wait()
        if server is not None:
            os.kill(server, signal.SIGQUIT)
            wait("the end of PostgreSQL", lambda: not lock.exists(), 60)


def test_a_cluster_is_asked_and_told(url: str) -> None:
    patroni = erpgo_dr.Patroni(["http://127.0.0.1:1", url], user=USER, password=PASSWORD)
    assert PASSWORD not in repr(patroni)
    cluster = erpgo_dr.ha_cluster(patroni)
    assert cluster["findings"] == [] and cluster["members"][0]["name"] == "pg1"
    assert erpgo_dr.ha_pause(patroni, limit=180) == {"paused": True, "changed": True, "unaware": []}
    assert erpgo_dr.ha_cluster(patroni)["findings"][0].startswith("it is paused")
    assert erpgo_dr.ha_pause(patroni, False, limit=180)["changed"]
    with pytest.raises(erpgo_dr.RefusedError, match="no member could take over"):
        erpgo_dr.ha_switchover(patroni, dry_run=True)
    with pytest.raises(erpgo_dr.NotFoundError, match="there is no member pg9; there are: pg1"):
        erpgo_dr.ha_failover(patroni, candidate="pg9")
    with pytest.raises(erpgo_dr.RefusedError, match="pg1 leads"):
        erpgo_dr.ha_reinitialize(patroni, "pg1")
    with pytest.raises(erpgo_dr.PermissionDeniedError):
        erpgo_dr.ha_pause(erpgo_dr.Patroni([url]))


def test_the_same_for_asyncio(url: str) -> None:
    async def go() -> None:
        patroni = erpgo_dr.Patroni([url])
        assert (await erpgo_dr.aio.ha_cluster(patroni))["paused"] is False
        with pytest.raises(erpgo_dr.UnavailableError) as failed:
            await erpgo_dr.aio.ha_cluster(erpgo_dr.Patroni(["http://127.0.0.1:1"]))
        assert failed.value.retryable

    asyncio.run(go())


def test_what_is_no_address_is_refused() -> None:
    for wrong in ["db1:8008", "http://me:secret@db1"]:
        with pytest.raises(erpgo_dr.InvalidError) as refused:
            erpgo_dr.Patroni([wrong])
        assert "secret" not in str(refused.value)
    with pytest.raises(erpgo_dr.InvalidError):
        erpgo_dr.Patroni(["http://db1"], user="dr")
