#!/usr/bin/env python3
"""A real Chromium before a real sluice, as a new user would try it: with config/https.yaml and the certificate that its
head says how to make. While a WebSocket is open the file is edited, and what was added to it is tried in turn.

  tests/browser/trial.py --sluice target/debug/sluice [--bytes 2147483648] [--work DIR]

Needs Playwright's Python package, a Chromium, and openssl. With --work the folder keeps the log and screenshots of the
page and of each kind of answer that sluice makes itself.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

from playwright.sync_api import Error, sync_playwright

HERE = pathlib.Path(__file__).resolve().parent
START = HERE.parent.parent / "config" / "https.yaml"
IMAGES = 100
TEXT = 4000 * len("A load balancer that nobody notices is a good one.\n")
# What sluice may hold more while a body passes, however large: buffers of one connection on either side.
BODY_MEMORY = 16 << 20
DOWNLOAD = 256 << 20

# What the pages are given: WebSockets and uploads as promises.
HELP = """
window.dial = () => new Promise((yes, no) => {
  const socket = new WebSocket(`wss://${location.host}/ws`);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => yes(socket);
  socket.onerror = () => no(new Error('the WebSocket was refused'));
});
window.ask = (socket, what) => new Promise((yes, no) => {
  socket.onmessage = event => yes(event.data);
  socket.onclose = event => no(new Error(`the WebSocket closed: ${event.code}`));
  socket.send(what);
});
window.hang_up = socket => new Promise(yes => { socket.onclose = event => yes(event.code); socket.close(1000); });
"""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def eventually(what, holds, seconds=20):
    """Polls until `holds` gives something, and gives that."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)
    return found


def same(what, found, right):
    if found != right:
        raise AssertionError(f"{what}: {found!r} instead of {right!r}")


class Edge:
    """sluice with its file, and the backends behind it."""

    def __init__(self, sluice, work, stack):
        self.work = work
        self.http, self.https, self.admin, first, second = free_ports(5)
        ports = {8080: self.http, 8443: self.https, 9001: first, 9002: second}
        start = START.read_text()
        self.openssl = next(line for line in start.splitlines() if "openssl req" in line).lstrip("# ")
        self.certify("localhost")
        self.text = re.sub(r"\d{4}\b", lambda port: str(ports.get(int(port[0]), port[0])), start)
        # The admin port is the process's; another sluice may have the usual one.
        self.text += f"process: {{admin: 127.0.0.1:{self.admin}, drain: 5s}}\n"
        self.file = work / "https.yaml"
        self.file.write_text(self.text)
        self.log = work / "sluice.log"
        output = stack.enter_context(open(self.log, "wb"))
        backend = subprocess.Popen([sys.executable, str(HERE / "backend.py"), f"cellar={first}", f"attic={second}"])
        stack.callback(lambda: (backend.kill(), backend.wait()))
        self.process = subprocess.Popen(
            [sluice, "run", "--config", str(self.file)], stdout=output, stderr=output,
            env={**os.environ, "NO_COLOR": "1"},
        )
        stack.callback(lambda: (self.process.kill(), self.process.wait()))
        eventually(f"sluice and its backends are ready; {self.log} says more", self.is_ready)
        self.page = f"https://localhost:{self.https}"

    def certify(self, name):
        """Makes the certificate, over the one that is there."""
        command = self.openssl.replace("/CN=localhost", f"/CN={name}")
        subprocess.run(command, shell=True, cwd=self.work, check=True, capture_output=True, timeout=60)

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"sluice ended at once:\n{self.log.read_text()}")
        with contextlib.suppress(OSError):
            self.asked("/readyz")
            return self.sum("sluice_backend_up") == 2
        return False

    def asked(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
            return answer.read().decode()

    def sum(self, family, **labels):
        """All series of a family that have these labels, added up."""
        total = 0
        for name, found, value in re.findall(r"^(\w+)(?:\{(.*?)\})? (\S+)$", self.asked("/metrics"), re.MULTILINE):
            if name == family and all(f'{label}="{right}"' in found for label, right in labels.items()):
                total += float(value)
        return total

    def edit(self, text):
        """Writes the file anew as editors do, and waits until it is in force."""
        before = self.sum("sluice_snapshot_generation")
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self.file)
        eventually("the edited file is in force", lambda: self.sum("sluice_snapshot_generation") > before)

    def memory(self, peak=False):
        """Bytes resident now, or the most since `forget_peak`."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(rf"^{'VmHWM' if peak else 'VmRSS'}:\s+(\d+)", status, re.MULTILINE)[1])

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


class Trial:
    """One browser at one edge. Each `try_…` is a story; they go in the order in which they stand."""

    def __init__(self, edge, browser, size):
        self.edge, self.browser, self.size = edge, browser, size
        self.context = self.visitor()
        self.page = self.context.new_page()

    def visitor(self, **more):
        """Somebody with no cookies, who clicks the warning about the certificate away."""
        context = self.browser.new_context(ignore_https_errors=True, **more)
        context.add_init_script(HELP)
        context.set_default_timeout(60_000)
        return context

    def shot(self, name):
        self.page.screenshot(path=str(self.edge.work / f"{name}.png"))

    def protocols(self):
        return self.page.evaluate(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".map(entry => [new URL(entry.name).pathname, entry.nextHopProtocol])"
        )

    def try_http_leads_to_https(self):
        answer = self.page.goto(f"http://localhost:{self.edge.http}/page?a=1&b=2")
        same("where it ends", self.page.url, f"{self.edge.page}/page?a=1&b=2")
        same("status", answer.status, 200)
        first = answer.request.redirected_from
        same("where it began", first.url, f"http://localhost:{self.edge.http}/page?a=1&b=2")
        same("status of the redirect", first.response().status, 308)

    def try_the_page_comes_over_http2(self):
        same("status", self.page.goto(f"{self.edge.page}/").status, 200)
        self.page.get_by_text("The script has run.").wait_for()
        same("the style", self.page.evaluate("getComputedStyle(document.querySelector('h1')).color"), "rgb(23, 96, 58)")
        said = self.page.inner_text("p >> nth=0")
        same("what the backend was told", said.split("asked")[1], f" for as localhost:{self.edge.https} over https.")
        found = dict(self.protocols())
        found.pop("/favicon.ico", None)  # which browsers ask for when they please
        same("what was spoken", found, {path: "h2" for path in ("/", "/style.css", "/app.js", "/image/1.png")})
        self.shot("page")

    def try_a_hundred_images_at_once(self):
        before = self.edge.sum("sluice_listener_connections_total", listener="secure")
        # The backend answers none of them before all were asked for.
        self.page.goto(f"{self.edge.page}/gallery")
        seen = self.page.evaluate("[...document.images].filter(image => image.naturalWidth === 8).length")
        same("images", seen, IMAGES)
        same("what was spoken", {spoken for _, spoken in self.protocols()}, {"h2"})
        opened = self.edge.sum("sluice_listener_connections_total", listener="secure") - before
        same("new connections of the browser", opened, 0)

    def try_another_name_of_the_certificate(self):
        source = f"https://www.localhost:{self.edge.https}/image/7.png"
        same("an image from there", self.page.evaluate(
            "source => new Promise(yes => { const image = new Image(); image.onload = () => yes('came');"
            " image.onerror = () => yes('failed'); image.src = source; })", source), "came")

    def try_websockets(self):
        self.page.goto(f"{self.edge.page}/")
        wrong = self.page.evaluate("""async () => {
            const wrong = [];
            const sockets = await Promise.all([...Array(8)].map(dial));
            await Promise.all(sockets.map(async (socket, n) => {
                for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
                    const text = String(n).repeat(size);
                    if (await ask(socket, text) !== text) wrong.push(`text of ${size}`);
                    const bytes = new Uint8Array(size).map((_, at) => at * (n + 3));
                    const back = new Uint8Array(await ask(socket, bytes));
                    const isSame = back.length === size && back.every((byte, at) => byte === bytes[at]);
                    if (!isSame) wrong.push(`bytes of ${size}`);
                }
                const euro = 'größer als 10 €, 🦀';
                if (await ask(socket, euro) !== euro) wrong.push('text beyond ASCII');
                const code = await hang_up(socket);
                if (code !== 1000) wrong.push(`closed with ${code}`);
            }));
            return wrong;
        }""")
        same("what the echo got wrong", wrong, [])

    def try_a_websocket_lives_through_an_edit_of_the_file(self):
        self.page.evaluate("async () => { window.kept = await dial(); }")
        same("before", self.page.evaluate("ask(kept, 'before')"), "before")
        # Everything that follows is asked for here, in the middle of a conversation.
        hashed = subprocess.run(["openssl", "passwd", "-apr1", "open sesame"], capture_output=True, text=True, check=True)
        auth = f"basic_auth: {{users: ['ann:{hashed.stdout.strip()}']}}"
        (nobody,) = free_ports(1)
        routes = [
            f"{{host: localhost, path: /text/{coding}, compress: {{codings: [{coding}]}}, pool: site}}"
            for coding in ("gzip", "br", "zstd")
        ]
        routes.append(f"{{host: localhost, path: /private, {auth}, pool: site}}")
        routes.append("{host: localhost, path: /nobody, pool: nobody}")
        routes += [f"{{host: {host}, pool: site}}" for host in ("localhost", "www.localhost")]
        text = self.edge.text.replace("    pool: site\n", f"    routes: [{', '.join(routes)}]\n")
        text = text.replace("site: {", "site: {sticky: {cookie: HOME}, ")
        text = text.replace("\nprocess:", f"\n  nobody: {{backends: [127.0.0.1:{nobody}]}}\nprocess:")
        self.edge.edit(text)
        same("what was added is served", self.page.evaluate("fetch('/nobody').then(answer => answer.status)"), 503)
        same("after", self.page.evaluate("ask(kept, 'after')"), "after")
        # A file that is wrong changes nothing.
        self.edge.file.write_text(text.replace("protocol: https", "protocol: gopher"))
        eventually("a mistake is a problem", lambda: self.edge.sum("sluice_problems", source="file") > 0)
        same("after a mistake", self.page.evaluate("ask(kept, 'still')"), "still")
        other = self.context.new_page()
        same("pages after a mistake", other.goto(f"{self.edge.page}/").status, 200)
        other.close()
        self.edge.file.write_text(text)
        eventually("the mistake is mended", lambda: self.edge.sum("sluice_problems", source="file") == 0)

    def try_a_certificate_is_renewed(self):
        def shown():
            visitor = self.visitor()
            answer = visitor.new_page().goto(f"{self.edge.page}/who")
            name = answer.security_details()["subjectName"]
            visitor.close()
            return name

        same("before", shown(), "localhost")
        # The key is written before the certificate: for a moment they do not belong together.
        self.edge.certify("renewed")
        eventually("visitors see the new certificate", lambda: shown() == "renewed")
        same("the conversation", self.page.evaluate("ask(kept, 'renewed')"), "renewed")

    def try_a_large_upload(self):
        large = self.edge.work / "large.img"
        hashed = hashlib.sha256()
        # Sparse on the disk; what is in it shows if a part of it is lost, doubled or misplaced.
        with open(large, "wb") as file:
            file.truncate(self.size)
            for at in range(0, self.size - 64, 1 << 24):
                file.seek(at + at // 977 % 65536)
                file.write(f"this is at {at}".encode().ljust(64, b"."))
        with open(large, "rb") as file:
            while piece := file.read(1 << 22):
                hashed.update(piece)
        self.page.goto(f"{self.edge.page}/")
        self.page.set_input_files("#file", str(large))
        self.edge.forget_peak()
        before, begun = self.edge.memory(), time.monotonic()
        got = self.page.evaluate("""() => {
            const body = document.getElementById('file').files[0];
            return fetch('/upload', {method: 'PUT', body}).then(answer => answer.json());
        }""")
        took, grown = time.monotonic() - begun, max(self.edge.memory(peak=True) - before, 0)
        large.unlink()
        same("what arrived", got, {"sha256": hashed.hexdigest(), "bytes": self.size})
        if grown > BODY_MEMORY:
            raise AssertionError(f"sluice grew by {grown >> 10} KiB during the upload")
        rate = f"{self.size >> 20} MiB at {self.size / took / 1e6:.0f} MB/s"
        return f"{rate}, sluice grew by {grown >> 10} KiB from {before >> 10}"

    def try_an_upload_that_does_not_say_its_length(self):
        got = self.page.evaluate("""async () => {
            let left = 64;
            const piece = new Uint8Array(1 << 20).fill(7);
            const body = new ReadableStream({
                pull(to) { if (left-- > 0) to.enqueue(piece.slice()); else to.close(); },
            });
            return (await fetch('/upload', {method: 'POST', body, duplex: 'half'})).json();
        }""")
        right = hashlib.sha256(b"\7" * (64 << 20)).hexdigest()
        same("what arrived", got, {"sha256": right, "bytes": 64 << 20})

    def try_a_large_download(self):
        self.edge.forget_peak()
        before = self.edge.memory()
        with self.page.expect_download() as begun:
            self.page.evaluate("url => { location.href = url; }", f"/download?{DOWNLOAD}")
        path = begun.value.path()
        block = bytes(range(256)) * 1024
        hashed, right = hashlib.sha256(), hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(1 << 22):
                hashed.update(piece)
        for _ in range(DOWNLOAD // len(block)):
            right.update(block)
        same("name", begun.value.suggested_filename, "large.bin")
        same("bytes", os.path.getsize(path), DOWNLOAD)
        same("what arrived", hashed.hexdigest(), right.hexdigest())
        grown = self.edge.memory(peak=True) - before
        if grown > BODY_MEMORY:
            raise AssertionError(f"sluice grew by {grown >> 10} KiB during the download")
        return f"sluice grew by {grown >> 10} KiB"

    def try_an_event_stream(self):
        # Each event is told after the one before it was seen: nothing on the way waits for more.
        told = self.page.evaluate("""async () => {
            const told = [];
            let seen;
            const stream = new EventSource('/events');
            stream.onmessage = event => { told.push(event.data); seen(); };
            await new Promise((yes, no) => { stream.onopen = yes; stream.onerror = () => no(new Error('no stream')); });
            for (const word of ['one', 'two', 'three']) {
                const next = new Promise(yes => { seen = yes; });
                await fetch(`/say?${word}`, {method: 'POST'});
                await next;
            }
            stream.close();
            return told;
        }""")
        same("events", told, ["one", "two", "three"])

    def try_compression(self):
        saved = {}
        for coding in ("gzip", "br", "zstd"):
            found = self.page.evaluate("""async path => {
                const answer = await fetch(path);
                const text = await answer.text();
                const entry = performance.getEntriesByName(answer.url)[0];
                return [answer.headers.get('content-encoding'), text.length, entry.encodedBodySize];
            }""", f"/text/{coding}")
            same("coding and length", found[:2], [coding, TEXT])
            if not 0 < found[2] < TEXT // 4:
                raise AssertionError(f"{coding}: {found[2]} bytes on the way")
            saved[coding] = found[2]
        return f"{TEXT} bytes as {saved}"

    def try_a_password(self):
        # Without `omit` the browser would prompt, and wait for somebody to type.
        asked = self.page.evaluate("""() => fetch('/private', {credentials: 'omit'})
            .then(answer => [answer.status, answer.headers.get('www-authenticate')])""")
        same("without", asked, [401, 'Basic realm="restricted", charset="UTF-8"'])
        # The browser's prompt, filled in: rightly, and then wrongly, which it shows as 401 or as an error of its own.
        knows = self.visitor(http_credentials={"username": "ann", "password": "open sesame"})
        same("with it", knows.new_page().goto(f"{self.edge.page}/private").status, 200)
        knows.close()
        guesses = self.visitor(http_credentials={"username": "ann", "password": "open rice"})
        try:
            same("with another", guesses.new_page().goto(f"{self.edge.page}/private").status, 401)
        except Error as error:
            same("with another", "ERR_INVALID_AUTH_CREDENTIALS" in error.message, True)
        guesses.close()

    def try_a_cookie_that_keeps_the_backend(self):
        homes = set()
        for _ in range(6):
            context = self.visitor()
            page = context.new_page()
            page.goto(f"{self.edge.page}/who")
            seen = page.evaluate("""() => Promise.all([...Array(20)].map(() => fetch('/who').then(answer => answer.text())))
                .then(all => [...new Set(all)])""")
            same("one visitor's backends", seen, [page.inner_text("body")])
            (cookie,) = context.cookies()
            same("the cookie", [cookie[key] for key in ("name", "secure", "httpOnly")], ["HOME", True, True])
            homes.update(seen)
            context.close()
        same("all visitors' backends", homes, {"cellar", "attic"})

    def try_answers_of_our_own(self):
        seen = {}
        lost = f"https://lost.localhost:{self.edge.https}/"
        for status, url in ((404, lost), (502, f"{self.edge.page}/silent"), (503, f"{self.edge.page}/nobody")):
            same(url, self.page.goto(url).status, status)
            seen[status] = self.page.inner_text("body").strip()
            self.shot(str(status))
            if not seen[status].startswith(str(status)):
                raise AssertionError(f"{status}: {seen[status]!r}")
        return seen

    def try_an_answer_that_breaks_off(self):
        self.page.goto(f"{self.edge.page}/")
        found = self.page.evaluate(
            "fetch('/broken').then(answer => answer.text()).then(text => `whole: ${text.length}`, error => error.name)"
        )
        same("what the page sees of it", found, "TypeError")

    def try_pages_that_are_closed_in_the_middle(self):
        def under_way():
            return json.loads(self.page.evaluate("fetch('/under-way').then(answer => answer.text())"))

        leaving = self.context.new_page()
        leaving.goto(f"{self.edge.page}/")
        leaving.evaluate("""async () => {
            window.held = await Promise.all([...Array(10)].map(() => fetch('/endless')));
            window.stream = new EventSource('/events');
            await new Promise(yes => { window.stream.onopen = yes; });
            await dial();
        }""")
        same("under way", under_way(), {"endless": 10, "events": 1})
        leaving.close()
        eventually("the backend is let go", lambda: under_way() == {"endless": 0, "events": 0})
        self.context.close()
        eventually("no request is under way", lambda: self.edge.sum("sluice_backend_connections_active") == 0)

    def try_the_end(self):
        self.browser.close()
        eventually("no connection is open", lambda: self.edge.sum("sluice_listener_connections_active") == 0)
        self.edge.process.send_signal(signal.SIGTERM)
        same("exit", self.edge.process.wait(timeout=20), 0)
        odd = [line for line in self.edge.log.read_text().splitlines() if re.search(r"panick|ERROR", line)]
        same("in the log", [line for line in odd if "control::file::watch" not in line], [])

    def stories(self):
        return [name for name in vars(type(self)) if name.startswith("try_")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", required=True, help="the binary to try")
    parser.add_argument("--bytes", type=int, default=2 << 30, help="how large the upload is; 2 GiB")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser; `chromium` of the PATH")
    parser.add_argument("--work", help="keep what is made in this new folder")
    args = parser.parse_args()
    if not args.chromium:
        raise SystemExit("there is no chromium: apt-get install chromium, or say which with --chromium")
    signal.alarm(900)
    failed = 0
    with contextlib.ExitStack() as stack:
        if args.work:
            work = pathlib.Path(args.work).resolve()
            work.mkdir(parents=True)
        else:
            work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-browser-")))
        edge = Edge(os.path.abspath(args.sluice), work, stack)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=args.chromium)
        trial = Trial(edge, browser, args.bytes)
        print(f"Chromium {browser.version}")
        for name in trial.stories():
            begun = time.monotonic()
            try:
                more = getattr(trial, name)()
                verdict = "good"
            except Exception:
                more, verdict, failed = traceback.format_exc(), "BAD ", failed + 1
            said = name.removeprefix("try_").replace("_", " ")
            print(f"{verdict} {time.monotonic() - begun:5.1f} s  {said}{f': {more}' if more else ''}", flush=True)
        if failed:
            print(edge.log.read_text()[-4000:], file=sys.stderr)
    print("browser trial: " + ("good" if not failed else f"{failed} stories failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
