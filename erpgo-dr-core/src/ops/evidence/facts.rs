//! What a server says of itself that matters after a breach: names of items, and the queries whose rows they are.

/// Queries that every version from 14 on answers, in the order in which they are asked: what changes fast comes first.
/// They are asked with `pg_catalog` alone in the search path. Passwords in settings are blanked out.
pub(super) const FACTS: [(&str, &str); 24] = [
    ("activity", "SELECT * FROM pg_catalog.pg_stat_activity ORDER BY backend_start"),
    ("locks", "SELECT * FROM pg_catalog.pg_locks"),
    ("replication", "SELECT * FROM pg_catalog.pg_stat_replication"),
    ("replication-slots", "SELECT * FROM pg_catalog.pg_replication_slots"),
    ("prepared-transactions", "SELECT * FROM pg_catalog.pg_prepared_xacts"),
    (
        "server",
        "SELECT version() AS version, s.system_identifier, pg_postmaster_start_time() AS started, pg_is_in_recovery() AS \
         in_recovery, current_user, session_user, clock_timestamp() AS now, inet_server_addr() AS address, \
         inet_server_port() AS port FROM pg_control_system() AS s",
    ),
    (
        "settings",
        "SELECT name, regexp_replace(setting, '(password\\s*=\\s*)(''[^'']*''|\\S+)', '\\1***', 'gi') AS setting, unit, \
         context, source, sourcefile, sourceline, boot_val, pending_restart FROM pg_settings ORDER BY name",
    ),
    (
        "settings-of-files",
        "SELECT sourcefile, sourceline, seqno, name, regexp_replace(setting, '(password\\s*=\\s*)(''[^'']*''|\\S+)', '\\1***', 'gi') \
         AS setting, applied, error FROM pg_file_settings",
    ),
    (
        "settings-of-roles",
        "SELECT d.datname, pg_get_userbyid(nullif(s.setrole, 0)) AS role, regexp_replace(array_to_string(s.setconfig, E'\\n'), '(password\\s*=\\s*)(''[^'']*''|\\S+)', '\\1***', 'gi') AS settings FROM pg_catalog.pg_db_role_setting AS s \
         LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase",
    ),
    ("hba", "SELECT * FROM pg_catalog.pg_hba_file_rules"),
    ("databases", "SELECT * FROM pg_catalog.pg_database ORDER BY datname"),
    ("roles", "SELECT * FROM pg_catalog.pg_roles ORDER BY rolname"),
    (
        "memberships",
        "SELECT pg_get_userbyid(roleid) AS role, pg_get_userbyid(member) AS member, pg_get_userbyid(grantor) AS grantor, \
         admin_option FROM pg_catalog.pg_auth_members ORDER BY 1, 2",
    ),
    (
        "grants",
        "SELECT n.nspname AS schema, c.relname AS relation, c.relkind AS kind, pg_get_userbyid(c.relowner) AS owner, \
         pg_get_userbyid(a.grantor) AS grantor, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END \
         AS grantee, a.privilege_type, a.is_grantable FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON \
         n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a WHERE \
         c.relkind IN ('r', 'v', 'm', 'S', 'f', 'p') AND n.nspname !~ '^pg_toast' ORDER BY 1, 2, 6, 7",
    ),
    ("default-grants", "SELECT pg_get_userbyid(defaclrole) AS role, * FROM pg_catalog.pg_default_acl"),
    (
        "schemas",
        "SELECT nspname, pg_get_userbyid(nspowner) AS owner, nspacl FROM pg_catalog.pg_namespace ORDER BY nspname",
    ),
    (
        "functions",
        "SELECT n.nspname AS schema, p.oid::regprocedure AS function, pg_get_userbyid(p.proowner) AS owner, l.lanname AS \
         language, l.lanpltrusted AS trusted, p.prosecdef AS security_definer, p.proconfig, p.proacl, p.prosrc FROM \
         pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language AS \
         l ON l.oid = p.prolang WHERE p.oid >= 16384 ORDER BY 1, 2",
    ),
    (
        "triggers",
        "SELECT tgrelid::regclass AS relation, tgname, tgenabled, pg_get_triggerdef(oid) AS definition FROM \
         pg_catalog.pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2",
    ),
    ("event-triggers", "SELECT * FROM pg_catalog.pg_event_trigger"),
    ("policies", "SELECT * FROM pg_catalog.pg_policies"),
    ("extensions", "SELECT * FROM pg_catalog.pg_extension ORDER BY extname"),
    (
        "foreign-servers",
        "SELECT s.srvname, pg_get_userbyid(s.srvowner) AS owner, w.fdwname, s.srvoptions FROM pg_catalog.pg_foreign_server \
         AS s JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw ORDER BY 1",
    ),
    ("publications", "SELECT * FROM pg_catalog.pg_publication_tables"),
    (
        "subscriptions",
        "SELECT subname, pg_get_userbyid(subowner) AS owner, subenabled, subslotname, subpublications FROM \
         pg_catalog.pg_subscription",
    ),
];
