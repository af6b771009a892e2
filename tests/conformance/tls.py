#!/usr/bin/env python3
"""A real sluice before the scanners that users point at it: sslyze and testssl.sh must find nothing below Mozilla's
intermediate profile.

It has an ECDSA and an RSA certificate for one name, from an authority made on the spot, each with an OCSP response.
sslyze checks the profile itself. Of testssl.sh, which is asked for protocols, forward secrecy, server defaults and known
weaknesses, every finding counts that is worse than INFO and not in ACCEPTED, each of which says why. Beside them openssl
checks what neither does: both certificates, the stapled responses, a session that is resumed, old versions refused.

  tests/conformance/tls.py --sluice target/debug/sluice [--work DIR]
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time

NAME = "tls.sluice.test"
# Of the last version that was looked at; a new one may judge anew.
SSLYZE = "sslyze==6.3.1"

# Findings of testssl.sh that are not about the proxy, or that Mozilla's intermediate profile accepts, by a pattern of
# their id. Nothing else may be worse than INFO.
ACCEPTED = {
    r"cert_trust|cert_chain_of_trust": "the authority is made on the spot",
    r"cert_(caaRecord|DNS_CAA|crlDistributionPoints|certificatePolicies.*|extlifeSpan)": "of the certificate, not of us",
    r"DNS_CAArecord": "there is no DNS for a name that is made up",
    r"certificate_transparency": "the authority is made on the spot",
    r"cert_(expirationStatus|notAfter).*": "the certificates live for a day",
    r"(HSTS|HPKP|security_headers|banner_.*|HTTP_.*|cookie_.*)": "of the backend's answer, not of TLS",
    r"BREACH": "of the backend's answer, not of TLS",
    r"sessionresumption_.*": "it leaves before a ticket of TLS 1.3 comes; openssl resumes above",
    r"engine_problem": "of the openssl that testssl.sh runs with",
}


def run(*command, stdin="", check=True, **more):
    done = subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, text=True, timeout=170, check=False, **more
    )
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def certificates(work):
    """An authority, and for each kind of key a certificate with an OCSP response that it is good."""
    (work / "ext").write_text(
        f"subjectAltName=DNS:{NAME}\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth\nauthorityInfoAccess=OCSP;URI:http://ocsp.sluice.test/\n"
    )
    make = ["openssl", "req", "-nodes", "-sha256"]
    run(*make, "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", 90, "-subj",
        "/CN=a test authority", "-keyout", work / "ca.key", "-out", work / "ca.pem")
    kinds = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["rsa:2048"]}
    index = ""
    for kind, key in kinds.items():
        serial = "5" + secrets.token_hex(16)[1:].upper()
        run(*make, "-newkey", *key, "-subj", f"/CN={NAME}", "-keyout", work / f"{kind}.key", "-out", work / f"{kind}.csr")
        run("openssl", "x509", "-req", "-in", work / f"{kind}.csr", "-CA", work / "ca.pem", "-CAkey", work / "ca.key",
            "-days", 80, "-sha256", "-set_serial", f"0x{serial}", "-extfile", work / "ext", "-out", work / f"{kind}.pem")
        index += f"V\t391231235959Z\t\t{serial}\tunknown\t/CN={kind}\n"
    (work / "index.txt").write_text(index)
    for kind in kinds:
        run("openssl", "ocsp", "-index", work / "index.txt", "-CA", work / "ca.pem", "-rsigner", work / "ca.pem", "-rkey",
            work / "ca.key", "-issuer", work / "ca.pem", "-cert", work / f"{kind}.pem", "-ndays", 7, "-noverify",
            "-respout", work / f"{kind}.ocsp")


@contextlib.contextmanager
def serving(sluice, work):
    """A backend and the proxy before it; gives the port."""
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, behind = free.getsockname()[1], other.getsockname()[1]
    both = ", ".join(f"{{cert: {kind}.pem, key: {kind}.key, ocsp: {kind}.ocsp}}" for kind in ("ecdsa", "rsa"))
    (work / "sluice.yaml").write_text(
        f"process: {{admin: 'unix:{work}/admin.sock', workers: 1}}\n"
        f"listeners: {{tls: {{bind: 127.0.0.1:{port}, protocol: https, certificates: [{both}], pool: site}}}}\n"
        f"pools: {{site: {{probe: none, backends: [127.0.0.1:{behind}]}}}}\n"
    )
    site = work / "site"
    site.mkdir()
    (site / "index.html").write_text("<p>hello</p>\n")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    backend = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(behind), "--bind", "127.0.0.1", "--directory", str(site)], **quiet
    )
    log = open(work / "sluice.log", "wb")
    proxy = subprocess.Popen([sluice, "run", "--config", str(work / "sluice.yaml")], stdout=log, stderr=log)
    try:
        for at in (port, behind):
            deadline = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", at), timeout=1):
                    break
                if time.monotonic() > deadline or proxy.poll() is not None:
                    raise SystemExit(f"nothing listens on {at}:\n{(work / 'sluice.log').read_text()}")
                time.sleep(0.05)
        yield port
        if proxy.poll() is not None:
            raise SystemExit(f"sluice ended under the scans:\n{(work / 'sluice.log').read_text()}")
    finally:
        for child in (proxy, backend):
            child.terminate()
        for child in (proxy, backend):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=40)
            child.kill()
        log.close()


def with_openssl(port, work):
    """What the scanners do not look at: both certificates, stapled responses, resumption, and what is refused."""
    def client(*more, check=True):
        return run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", NAME, "-CAfile",
                   work / "ca.pem", "-verify_return_error", *more, check=check)
    wrong = []

    def expect(what, text, *patterns):
        wrong.extend(f"openssl: {what}: no {p!r}" for p in patterns if not re.search(p, text))

    for version in ("-tls1_2", "-tls1_3"):
        for algorithms, kind in (("ECDSA+SHA256", "ECDSA"), ("RSA-PSS+SHA256:RSA+SHA256", "RSA")):
            text = client(version, "-status", "-sigalgs", algorithms)
            expect(f"{version} {kind}", text, "OCSP Response Status: successful", "Cert Status: good",
                   f"Peer signature type: {kind}", "Verify return code: 0")
        session = work / f"session{version}"
        # In TLS 1.3 tickets come after the handshake: a request is answered first.
        asked = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
        first = run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", NAME, version, "-ign_eof",
                    "-sess_out", session, stdin=asked)
        expect(f"{version} answer", first, "HTTP/1.1 200 OK")
        expect(f"{version} resumption", client(version, "-sess_in", session), "Reused, TLSv1")
    for old in ("-tls1", "-tls1_1"):
        text = client(old, "-cipher", "ALL:@SECLEVEL=0", check=False)
        expect(f"{old} is refused", text, "alert|no protocols available|Cipher is \\(NONE\\)")
    return wrong


def with_sslyze(port, work):
    """Mozilla's intermediate profile, to the letter."""
    venv = work / "venv"
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", SSLYZE)
    report = work / "sslyze.json"
    text = run(venv / "bin" / "sslyze", "--mozilla_config=intermediate", "--json_out", report, "--sni", NAME, "--compression",
               "--elliptic_curves", "--fallback", "--heartbleed", "--openssl_ccs", "--reneg", "--robot", "--resum", "--sslv2", "--sslv3", "--tlsv1",
               "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--certinfo", "--early_data", "--ems", f"127.0.0.1:{port}", check=False)
    scanned = json.loads(report.read_text())["server_scan_results"]
    if len(scanned) != 1 or scanned[0]["scan_status"] != "COMPLETED":
        return [f"sslyze could not scan:\n{text}"]
    if "OK - Compliant" not in text and "FAILED - Not compliant" not in text:
        return [f"sslyze did not judge:\n{text}"]
    # Who the authority is, is for openssl to say: nobody else knows the one that was made here.
    said = re.findall(r"^ +\* (.+)$", text[text.find("COMPLIANCE AGAINST"):], re.MULTILINE)
    return [f"sslyze: {line}" for line in said if not line.startswith("certificate_path_validation:")]


def with_testssl(port, work):
    """Protocols, forward secrecy, server defaults and known weaknesses; ciphers are judged by sslyze."""
    testssl = shutil.which("testssl") or shutil.which("testssl.sh")
    if testssl is None:
        raise SystemExit("testssl.sh is missing: apt-get install testssl.sh")

    # It waits more than it works, so its parts are run side by side. Each must find what shows that it was run.
    def part(name, shows, *options):
        report = work / f"testssl-{name}.json"
        text = run(testssl, "--quiet", "--warnings", "batch", "--color", 0, "--ip", "127.0.0.1", "--nodns", "min",
                   "--assume-http", "--add-ca", work / "ca.pem", "--jsonfile", report, *options, f"{NAME}:{port}", check=False)
        found = json.loads(report.read_text()) if report.exists() else []
        if not any(finding["id"].startswith(shows) for finding in found):
            raise SystemExit(f"testssl.sh {name} could not scan:\n{text}")
        return found

    parts = [("protocols", "TLS1_3", "-p"), ("server", "OCSP_stapling", "-S"), ("secrecy", "PFS", "-f"),
             ("weaknesses", "heartbleed", "-U")]
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        findings = [finding for found in pool.map(lambda one: part(*one), parts) for finding in found]
    wrong = []
    for finding in findings:
        name = finding["id"].split(" ")[0]
        is_known = any(re.fullmatch(pattern, name) for pattern in ACCEPTED)
        if finding["severity"] not in ("OK", "INFO", "DEBUG") and not is_known:
            wrong.append(f"testssl.sh: {finding['severity']} {finding['id']}: {finding['finding']}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", required=True, help="the binary to scan")
    parser.add_argument("--work", help="keep what is made in this new folder")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if args.work:
            work = pathlib.Path(args.work).resolve()
            work.mkdir(parents=True)
        else:
            work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-tls-")))
        certificates(work)
        begun = time.monotonic()
        with serving(os.path.abspath(args.sluice), work) as port:
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor())
            scans = [pool.submit(scan, port, work) for scan in (with_openssl, with_sslyze, with_testssl)]
            wrong = [line for scan in scans for line in scan.result()]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"tls conformance: {'good' if not wrong else f'{len(wrong)} findings'} in {time.monotonic() - begun:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
