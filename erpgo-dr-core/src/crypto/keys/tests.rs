//! Slots against the real `age`, `ssh-keygen` and `openssl` programs, both ways.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};

use super::*;

fn epoch() -> EpochId {
    "20261124T033857Z-5f3a9c1e".parse().unwrap()
}

fn key() -> EpochKey {
    EpochKey::from_bytes(std::array::from_fn(|i| i as u8 * 7))
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

/// Runs a program that must succeed, and returns its stdout.
fn tool(folder: &Path, program: &str, arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program} must be installed: {e}"));
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    output.stdout
}

async fn identities(file: Vec<u8>) -> Identities {
    Identities::parse(file.into(), None).await.unwrap()
}

async fn assert_opens(unlocker: &Unlocker, slot: &[u8]) {
    assert_eq!(unlocker.unwrap(&epoch(), slot).await.unwrap().expose(), key().expose());
}

/// Wraps here and opens with age, then wraps with age and opens here.
async fn both_ways(folder: &Path, recipients: &str, identity_file: &str) {
    let recipients = Recipient::parse_list(recipients).unwrap();
    let slot = Wrapper::Recipients(recipients.clone()).wrap(&epoch(), &key()).await.unwrap();
    assert!(slot.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
    assert_eq!(slot_kind(&slot).unwrap(), SlotKind::Recipient);
    let payload = tool(folder, "age", &["-d", "-i", identity_file], &slot);
    assert_eq!(payload, *payload::encode(&epoch(), &key()));

    let unlocker = Unlocker::Identities(identities(std::fs::read(folder.join(identity_file)).unwrap()).await);
    assert_opens(&unlocker, &slot).await;
    for armor in [&["-a"][..], &[]] {
        let names: Vec<_> = recipients.iter().map(ToString::to_string).collect();
        let mut arguments = armor.to_vec();
        names.iter().for_each(|name| arguments.extend(["-r", name]));
        assert_opens(&unlocker, &tool(folder, "age", &arguments, &payload)).await;
    }
}

#[tokio::test]
async fn age_keys_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    tool(folder.path(), "age-keygen", &["-o", "key.txt"], b"");
    let public = tool(folder.path(), "age-keygen", &["-y", "key.txt"], b"");
    let list = format!("# operators\n\n  {}\n", String::from_utf8(public).unwrap());
    both_ways(folder.path(), &list, "key.txt").await;
}

#[tokio::test]
async fn ssh_keys_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [["-t", "ed25519"].as_slice(), &["-t", "rsa", "-b", "2048"]] {
        let name = arguments[1];
        let arguments = [&["-q", "-N", "", "-C", "", "-f", name], arguments].concat();
        tool(folder.path(), "ssh-keygen", &arguments, b"");
        let public = std::fs::read_to_string(folder.path().join(format!("{name}.pub"))).unwrap();
        both_ways(folder.path(), public.trim(), name).await;
        both_ways(folder.path(), &format!("{} dba@host one\r\n", public.trim()), name).await;
    }
}

#[tokio::test]
async fn passphrases_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let wrapper = Wrapper::Passphrase { passphrase: secret("correct horse"), work_factor: 10 };
    let slot = wrapper.wrap(&epoch(), &key()).await.unwrap();
    assert_eq!(slot_kind(&slot).unwrap(), SlotKind::Passphrase);
    std::fs::write(folder.path().join("slot.age"), &slot).unwrap();
    // age reads passphrases from a terminal only: script(1) gives it one.
    tool(folder.path(), "script", &["-qec", "age -d -o payload slot.age", "/dev/null"], b"correct horse\n");
    let payload = std::fs::read(folder.path().join("payload")).unwrap();
    assert_eq!(payload, *payload::encode(&epoch(), &key()));

    let typed = b"correct horse\ncorrect horse\n";
    tool(folder.path(), "script", &["-qec", "age -p -a -o made.age payload", "/dev/null"], typed);
    let made = std::fs::read(folder.path().join("made.age")).unwrap();
    assert_opens(&Unlocker::Passphrase(secret("correct horse")), &made).await;

    let wrong = Unlocker::Passphrase(secret("correct horse "));
    let refused = wrong.unwrap(&epoch(), &made).await;
    assert!(matches!(refused, Err(CryptoError::WrongPassphrase)), "{refused:?}");
}

#[tokio::test]
async fn a_default_passphrase_slot_opens_again() {
    let slot = Wrapper::passphrase(secret("korrekt ✓")).wrap(&epoch(), &key()).await.unwrap();
    assert_opens(&Unlocker::Passphrase(secret("korrekt ✓")), &slot).await;
}

#[tokio::test]
async fn an_encrypted_identity_file_needs_its_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let pair = generate_identity();
    std::fs::write(folder.path().join("plain"), pair.secret.expose_secret()).unwrap();
    let slot = Wrapper::Recipients(vec![pair.recipient]).wrap(&epoch(), &key()).await.unwrap();
    for arguments in ["age -p -a -o key.age plain", "age -p -o key.bin plain"] {
        tool(folder.path(), "script", &["-qec", arguments, "/dev/null"], b"pass word\npass word\n");
    }
    for name in ["key.age", "key.bin"] {
        let file = || IdentityText::from(std::fs::read(folder.path().join(name)).unwrap());
        let opened = Identities::parse(file(), Some(secret("pass word"))).await.unwrap();
        assert_opens(&Unlocker::Identities(opened), &slot).await;
        let wrong = Identities::parse(file(), Some(secret("password"))).await;
        assert!(matches!(wrong, Err(CryptoError::WrongPassphrase)), "{wrong:?}");
        let without = Identities::parse(file(), None).await;
        assert!(matches!(without, Err(CryptoError::IdentityNeedsPassphrase)), "{without:?}");
    }
}

#[tokio::test]
async fn an_encrypted_ssh_key_needs_its_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    tool(folder.path(), "ssh-keygen", &["-q", "-t", "ed25519", "-N", "pass word", "-f", "id"], b"");
    let public = std::fs::read_to_string(folder.path().join("id.pub")).unwrap();
    let slot = Wrapper::Recipients(vec![public.parse().unwrap()]).wrap(&epoch(), &key()).await.unwrap();
    let file = || IdentityText::from(std::fs::read(folder.path().join("id")).unwrap());
    let opened = Identities::parse(file(), Some(secret("pass word"))).await.unwrap();
    assert_opens(&Unlocker::Identities(opened), &slot).await;
    let wrong = Identities::parse(file(), Some(secret("password"))).await;
    assert!(matches!(wrong, Err(CryptoError::WrongPassphrase)), "{wrong:?}");
    let without = Identities::parse(file(), None).await;
    assert!(matches!(without, Err(CryptoError::IdentityNeedsPassphrase)), "{without:?}");
}

#[tokio::test]
async fn any_recipient_opens_and_nobody_else() {
    let (one, two, stranger) = (generate_identity(), generate_identity(), generate_identity());
    let slot = Wrapper::Recipients(vec![one.recipient, two.recipient]).wrap(&epoch(), &key()).await.unwrap();
    for pair in [&one.secret, &two.secret] {
        let unlocker = Unlocker::Identities(Identities::parse(pair.clone().into(), None).await.unwrap());
        assert_opens(&unlocker, &slot).await;
    }
    let mut known = Identities::parse(stranger.secret.into(), None).await.unwrap();
    for unlocker in [Unlocker::Identities(known.clone()), Unlocker::Passphrase(secret("guess"))] {
        let refused = unlocker.unwrap(&epoch(), &slot).await;
        assert!(matches!(refused, Err(CryptoError::NoMatchingIdentity)), "{refused:?}");
    }
    known.append(Identities::parse(two.secret.into(), None).await.unwrap());
    assert_opens(&Unlocker::Identities(known), &slot).await;
}

#[tokio::test]
async fn an_identity_does_not_open_a_passphrase_slot() {
    let wrapper = Wrapper::Passphrase { passphrase: secret("x"), work_factor: 2 };
    let slot = wrapper.wrap(&epoch(), &key()).await.unwrap();
    let stranger = Identities::parse(generate_identity().secret.into(), None).await.unwrap();
    let refused = Unlocker::Identities(stranger).unwrap(&epoch(), &slot).await;
    assert!(matches!(refused, Err(CryptoError::NoMatchingIdentity)), "{refused:?}");
}

#[tokio::test]
async fn a_moved_slot_is_found_out() {
    let pair = generate_identity();
    let slot = Wrapper::Recipients(vec![pair.recipient]).wrap(&epoch(), &key()).await.unwrap();
    let other: EpochId = "20261124T033857Z-5f3a9c1f".parse().unwrap();
    let unlocker = Unlocker::Identities(Identities::parse(pair.secret.into(), None).await.unwrap());
    match unlocker.unwrap(&other, &slot).await {
        Err(CryptoError::WrongSlot { expected, found }) => assert_eq!((expected, found), (other, epoch())),
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn every_flipped_byte_and_every_cut_is_an_error() {
    let pair = generate_identity();
    let by_key = Wrapper::Recipients(vec![pair.recipient]).wrap(&epoch(), &key()).await.unwrap();
    let by_pass = Wrapper::Passphrase { passphrase: secret("x"), work_factor: 1 };
    let by_pass = by_pass.wrap(&epoch(), &key()).await.unwrap();
    let identities = Identities::parse(pair.secret.into(), None).await.unwrap();
    let slots = [(Unlocker::Identities(identities), by_key), (Unlocker::Passphrase(secret("x")), by_pass)];
    for (unlocker, slot) in slots {
        assert_opens(&unlocker, &slot).await;
        for at in 0..slot.len() {
            let mut flipped = slot.clone();
            flipped[at] ^= 1;
            let outcome = unlocker.unwrap(&epoch(), &flipped).await;
            assert!(is_refusal(&outcome), "byte {at}: {outcome:?}");
        }
        // The line feed at the very end may go.
        for length in 0..slot.len() - 1 {
            let outcome = unlocker.unwrap(&epoch(), &slot[..length]).await;
            assert!(matches!(outcome, Err(CryptoError::SlotCorrupt { .. })), "{length} bytes: {outcome:?}");
        }
        let mut payload = slot.clone();
        let at = slot.len() - 60;
        payload[at] = if payload[at] == b'A' { b'B' } else { b'A' };
        let outcome = unlocker.unwrap(&epoch(), &payload).await;
        assert!(matches!(outcome, Err(CryptoError::SlotCorrupt { .. })), "{outcome:?}");
    }
}

fn is_refusal(outcome: &Result<EpochKey, CryptoError>) -> bool {
    use CryptoError::{NoMatchingIdentity, SlotCorrupt, WorkFactorTooHigh, WrongPassphrase};
    matches!(outcome, Err(SlotCorrupt { .. } | NoMatchingIdentity | WrongPassphrase | WorkFactorTooHigh { .. }))
}

#[tokio::test]
async fn a_slot_cannot_ask_for_unbounded_work() {
    let passphrase = || secret("x");
    let slot = age::Encryptor::with_recipients(
        [&{
            let mut recipient = age::scrypt::Recipient::new(passphrase());
            recipient.set_work_factor(10);
            recipient
        } as &dyn age::Recipient]
        .into_iter(),
    )
    .unwrap();
    let mut bytes = Vec::new();
    slot.wrap_output(&mut bytes).unwrap().finish().unwrap();
    let digits = memchr::memmem::find(&bytes, b" 10\n").unwrap();
    bytes[digits + 1..digits + 3].copy_from_slice(b"21");
    let outcome = Unlocker::Passphrase(passphrase()).unwrap(&epoch(), &bytes).await;
    let refused = matches!(outcome, Err(CryptoError::WorkFactorTooHigh { required: 21, limit: MAX_WORK_FACTOR }));
    assert!(refused, "{outcome:?}");
    let wrapper = Wrapper::Passphrase { passphrase: passphrase(), work_factor: 21 };
    let outcome = wrapper.wrap(&epoch(), &key()).await;
    assert!(matches!(outcome, Err(CryptoError::WorkFactorTooHigh { .. })), "{outcome:?}");
}

#[tokio::test]
async fn nothing_wraps_for_nobody() {
    let nobody = Wrapper::Recipients(Vec::new()).wrap(&epoch(), &key()).await;
    assert!(matches!(nobody, Err(CryptoError::NoRecipients)), "{nobody:?}");
    let empty = Wrapper::passphrase(secret("")).wrap(&epoch(), &key()).await;
    assert!(matches!(empty, Err(CryptoError::WrapFailed { .. })), "{empty:?}");
}

#[test]
fn a_bad_recipient_is_named_by_its_line() {
    let good = generate_identity();
    let good_text = good.recipient.to_string();
    let cases = [
        good.secret.expose_secret(),
        "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHFliOyIZs1gxGF3fmDxFykQhE88wy6AKDGFBfn0R6ZuvRmENABZQa9+pj9hMki+LX0qDJbmHTiWDbYv/cmFt/Q=",
        "hello",
    ];
    for case in cases {
        let outcome = Recipient::parse_list(&format!("# list\n{good_text}\n\n{case}\n"));
        assert!(matches!(outcome, Err(CryptoError::RecipientInvalid { line: 4, .. })), "{case}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains("SECRET-KEY-1"), "{outcome:?}");
    }
    assert!(matches!(Recipient::parse_list("# none\n"), Err(CryptoError::NoRecipients)));
    assert_eq!(good_text.parse::<Recipient>().unwrap().to_string(), good_text);
}

#[tokio::test]
async fn a_bad_identity_file_says_so_and_not_what_it_holds() {
    for text in ["", "# only a comment\n", "AGE-SECRET-KEY-1QQQQ\n", "-----BEGIN OPENSSH PRIVATE KEY-----\nQQQQ\n"] {
        let outcome = Identities::parse(text.as_bytes().to_vec().into(), None).await;
        assert!(matches!(outcome, Err(CryptoError::IdentityInvalid { .. })), "{outcome:?}");
        assert!(!format!("{outcome:?}").contains("QQQQ"), "{outcome:?}");
    }
}

#[test]
fn slot_names_are_few_characters() {
    for name in ["", "A", "a_b", "a/b", "..", "é", &"a".repeat(65)] {
        assert!(name.parse::<SlotName>().is_err(), "{name}");
    }
    assert_eq!("break-glass-1".parse::<SlotName>().unwrap().as_str(), "break-glass-1");
}

/// A stand-in for a KMS: a program that alone holds the key of keys.
fn kms(folder: &Path, direction: &str) -> ExternalCommand {
    let script = folder.join("kms");
    let text = "#!/bin/sh\nexec openssl enc \"$1\" -aes-256-cbc -pbkdf2 -a -pass file:\"$(dirname \"$0\")/master\"\n";
    std::fs::write(folder.join("master"), "master key\n").unwrap();
    std::fs::write(&script, text).unwrap();
    // By way of sh, since another thread may have forked while the script was open for writing.
    ExternalCommand::new("sh", [script.as_os_str(), direction.as_ref()])
}

#[tokio::test]
async fn a_command_wraps_and_unwraps() {
    let folder = tempfile::tempdir().unwrap();
    let wrapper = Wrapper::Command(kms(folder.path(), "-e"));
    let slot = wrapper.wrap(&epoch(), &key()).await.unwrap();
    assert_eq!(wrapper.kind().extension(), "ext");
    assert_opens(&Unlocker::Command(kms(folder.path(), "-d")), &slot).await;
    let other = "20261124T033857Z-00000000".parse().unwrap();
    let moved = Unlocker::Command(kms(folder.path(), "-d")).unwrap(&other, &slot).await;
    assert!(matches!(moved, Err(CryptoError::WrongSlot { .. })), "{moved:?}");
    let mut cut = slot.clone();
    cut.truncate(40);
    match Unlocker::Command(kms(folder.path(), "-d")).unwrap(&epoch(), &cut).await {
        Err(CryptoError::CommandFailed { program, stderr, .. }) => {
            assert_eq!(program, "sh");
            assert!(!stderr.is_empty());
        }
        outcome => panic!("{outcome:?}"),
    }
}

fn shell(script: &str) -> ExternalCommand {
    ExternalCommand::new("sh", ["-c", script])
}

#[tokio::test]
async fn a_failing_command_is_quoted_without_the_key() {
    let outcome = Wrapper::Command(shell("cat >&2; echo 'no access' >&2; exit 7")).wrap(&epoch(), &key()).await;
    match outcome {
        Err(CryptoError::CommandFailed { status, stderr, .. }) => {
            assert!(status.contains('7'), "{status}");
            assert!(stderr.contains("no access"), "{stderr}");
            assert!(!stderr.contains(&hex::encode(key().expose())), "{stderr}");
        }
        outcome => panic!("{outcome:?}"),
    }
    let outcome = Wrapper::Command(shell("head -c 1000000 /dev/zero | tr '\\0' 'y' >&2; exit 1"));
    match outcome.wrap(&epoch(), &key()).await {
        Err(CryptoError::CommandFailed { stderr, .. }) => assert!(stderr.len() < 4096),
        outcome => panic!("{outcome:?}"),
    }
    let missing = ExternalCommand::new("/nowhere/kms", [""; 0]);
    let outcome = Wrapper::Command(missing).wrap(&epoch(), &key()).await;
    assert!(matches!(outcome, Err(CryptoError::CommandNotRun { .. })), "{outcome:?}");
}

#[tokio::test]
async fn output_that_is_no_wrapped_key_is_refused() {
    for script in ["cat", "exec >/dev/null; cat", "tr a-f A-F", "head -c 300000 /dev/zero"] {
        let outcome = Wrapper::Command(shell(script)).wrap(&epoch(), &key()).await;
        assert!(matches!(outcome, Err(CryptoError::CommandOutput { .. })), "{script}: {outcome:?}");
    }
    let outcome = Unlocker::Command(shell("echo nonsense")).unwrap(&epoch(), b"x").await;
    assert!(matches!(outcome, Err(CryptoError::SlotCorrupt { .. })), "{outcome:?}");
}

/// Waits until nobody has the fifo's writing end open: whoever held it was killed.
fn assert_writers_gone(fifo: std::fs::File) {
    use std::io::Read;
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut fifo = fifo;
    std::thread::spawn(move || sender.send(fifo.read_to_end(&mut Vec::new()).map(|_| ())));
    receiver.recv_timeout(Duration::from_secs(5)).expect("a process of the group still runs").unwrap();
}

/// A command that never ends, nor does its child, and a fifo that both hold open for writing.
fn hanging(folder: &Path, timeout: Duration) -> (Wrapper, tokio::task::JoinHandle<std::fs::File>) {
    let fifo = folder.join("fifo");
    tool(folder, "mkfifo", &["fifo"], b"");
    let mut command = shell(&format!("exec 3>'{}'; sleep 300 & sleep 300", fifo.display()));
    command.timeout = timeout;
    // It returns once the command has opened the other end.
    let reading = tokio::task::spawn_blocking(move || std::fs::File::open(fifo).unwrap());
    (Wrapper::Command(command), reading)
}

#[tokio::test]
async fn a_hanging_command_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let (wrapper, reading) = hanging(folder.path(), Duration::from_secs(3));
    let outcome = wrapper.wrap(&epoch(), &key()).await;
    assert!(matches!(outcome, Err(CryptoError::CommandTimedOut { .. })), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_writers_gone(reading.await.unwrap());
}

#[tokio::test]
async fn a_command_nobody_waits_for_is_killed_too() {
    let folder = tempfile::tempdir().unwrap();
    let (wrapper, reading) = hanging(folder.path(), Duration::from_secs(300));
    let (epoch, key) = (epoch(), key());
    let fifo = tokio::select! {
        outcome = wrapper.wrap(&epoch, &key) => panic!("it ended: {outcome:?}"),
        fifo = reading => fifo.unwrap(),
    };
    assert_writers_gone(fifo);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let headers: [&[u8]; 3] = [
            b"",
            b"-----BEGIN AGE ENCRYPTED FILE-----\n",
            b"age-encryption.org/v1\n-> scrypt ",
        ];
        for header in headers {
            let slot = [header, &bytes].concat();
            let _ = (slot_kind(&slot), parse_payload(&slot));
        }
    }
}
