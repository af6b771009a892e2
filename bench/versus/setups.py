"""Configuration files for the backend and for every proxy under comparison.

Each function returns the text of one configuration. The point of this file is
that a reader who knows haproxy or nginx can check, in one place, that the
opponents were set up by somebody who wanted them to do well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Larger than any run can reach; keeps both nginxes from closing keep-alive
#: connections every 1000 requests, which is their default.
MANY = 1_000_000_000

#: Request headers every HTTP proxy must add before the request goes upstream.
ADDED_HEADERS = (
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
)

#: The one TLS 1.3 cipher suite and group the load offers, so that no proxy can
#: end up on a cheaper or dearer one than the others.
TLS_SUITE = "TLS_AES_256_GCM_SHA384"
TLS_GROUP = "X25519"


@dataclass(frozen=True)
class Ports:
    """Loopback ports used by one invocation."""

    plain: int
    secure: int
    l4: int
    admin: int
    backend: int
    status: int


@dataclass(frozen=True)
class Site:
    """Where things are: the scratch directory, certificate files and modules."""

    root: Path
    cert: Path
    key: Path
    pem: Path
    nginx_modules: Path
    as_root: bool


def _nginx_preamble(site: Site, name: str, modules: tuple[str, ...] = ()) -> str:
    """Directives common to the backend nginx and the proxy nginx."""
    loads = "".join(f"load_module {site.nginx_modules / m};\n" for m in modules)
    # Every proxy runs as the invoking user; nginx would otherwise drop to "nobody".
    user = "user root;\n" if site.as_root else ""
    return f"""{loads}{user}daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {site.root / name}.pid;
error_log {site.root / name}.err warn;
events {{ worker_connections 4096; use epoll; }}
"""


def _nginx_temp_paths(site: Site, name: str) -> str:
    """Temporary directories inside the scratch directory."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"    {k}_temp_path {site.root / name}.{k};\n" for k in kinds)


def backend(site: Site, ports: Ports, small: str) -> str:
    """The backend: nginx serving /small from its configuration, files from tmpfs.

    ``/whoami`` tells what the backend saw of a request; the status port carries
    the counters used to cross-check wrk's own count and connection reuse.
    """
    return _nginx_preamble(site, "backend") + f"""
http {{
{_nginx_temp_paths(site, "backend")}
    access_log off;
    server_tokens off;
    keepalive_requests {MANY};
    keepalive_timeout 300s;
    sendfile on;
    sendfile_max_chunk 0;
    tcp_nopush on;
    tcp_nodelay on;
    open_file_cache max=16 inactive=1h;
    open_file_cache_valid 1h;
    default_type application/octet-stream;

    server {{
        listen 127.0.0.1:{ports.backend} backlog=4096;
        root {site.root / "www"};
        location = /small {{ return 200 "{small}"; }}
        location = /whoami {{
            return 200 "$remote_port|$http_x_forwarded_for|$http_x_request_id";
        }}
    }}
    server {{
        listen 127.0.0.1:{ports.status};
        location = /status {{ stub_status; }}
    }}
}}
"""


def nginx(site: Site, ports: Ports, big_body: bool) -> str:
    """nginx as a reverse proxy with upstream keep-alive, plus a stream listener."""
    if big_body:
        # Read from the backend in big pieces, never to a temporary file.
        buffers = """proxy_buffer_size 32k;
        proxy_buffers 16 64k;
        proxy_busy_buffers_size 256k;"""
        stream_buffer = "64k"
    else:
        buffers = "proxy_buffer_size 4k;"
        stream_buffer = "16k"
    return _nginx_preamble(site, "nginx", ("ngx_stream_module.so",)) + f"""
http {{
{_nginx_temp_paths(site, "nginx")}
    access_log off;
    server_tokens off;
    keepalive_requests {MANY};
    keepalive_timeout 300s;
    tcp_nodelay on;

    upstream site {{
        server 127.0.0.1:{ports.backend} max_fails=0;
        keepalive 128;
        keepalive_requests {MANY};
        keepalive_timeout 300s;
    }}

    server {{
        listen 127.0.0.1:{ports.plain} backlog=4096;
        listen 127.0.0.1:{ports.secure} ssl backlog=4096;
        ssl_certificate {site.cert};
        ssl_certificate_key {site.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:4m;
        ssl_session_tickets on;

        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Port $server_port;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Request-Id $request_id;

        proxy_buffering on;
        proxy_max_temp_file_size 0;
        {buffers}

        location / {{ proxy_pass http://site; }}
    }}
}}

stream {{
    upstream site {{ server 127.0.0.1:{ports.backend} max_fails=0; }}
    server {{
        listen 127.0.0.1:{ports.l4} backlog=4096;
        tcp_nodelay on;
        proxy_buffer_size {stream_buffer};
        proxy_pass site;
    }}
}}
"""


def haproxy(site: Site, ports: Ports, splice: bool, bufsize: int | None = None) -> str:
    """haproxy with one thread; ``splice`` adds kernel splicing of bodies.

    ``tune.bufsize`` stays at its default, 16384, unless ``bufsize`` is given.
    """
    tune = f"tune.bufsize {bufsize}" if bufsize else ""
    options = "option splice-request\n    option splice-response" if splice else ""
    return f"""global
    nbthread 1
    maxconn 4096
    ssl-default-bind-options ssl-min-ver TLSv1.2
    # No log line and no stats socket.
    {tune}

defaults
    mode http
    option http-keep-alive
    unique-id-format %[uuid()]
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 300s
    {options}

frontend plain
    bind 127.0.0.1:{ports.plain} backlog 4096
    http-request set-header X-Forwarded-Proto http
    default_backend site

frontend secure
    bind 127.0.0.1:{ports.secure} backlog 4096 ssl crt {site.pem}
    http-request set-header X-Forwarded-Proto https
    default_backend site

backend site
    # "always" lets even the first request of a client connection take an idle
    # server connection. The default, "safe", would open a new one for it. Safe
    # here: one trusted backend that does not close idle connections.
    http-reuse always
    option forwardfor
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Request-Id %[unique-id]
    option httpchk GET /small
    server one 127.0.0.1:{ports.backend} check inter 1s

frontend l4
    mode tcp
    bind 127.0.0.1:{ports.l4} backlog 4096
    default_backend l4

backend l4
    mode tcp
    server one 127.0.0.1:{ports.backend} check inter 1s
"""


def sluice(site: Site, ports: Ports) -> str:
    """sluice with one data worker and an HTTP probe every second."""
    return f"""process: {{admin: "127.0.0.1:{ports.admin}", workers: 1}}
listeners:
  plain:
    bind: "127.0.0.1:{ports.plain}"
    protocol: http
    routes: [{{pool: site}}]
  secure:
    bind: "127.0.0.1:{ports.secure}"
    protocol: https
    certificates: [{{cert: "{site.cert}", key: "{site.key}"}}]
    routes: [{{pool: site}}]
  l4:
    bind: "127.0.0.1:{ports.l4}"
    protocol: tcp
    pool: site
pools:
  site:
    backends: ["127.0.0.1:{ports.backend}"]
    probe: {{http: /small, every: 1s}}
"""


def openssl_client() -> str:
    """openssl.cnf for the load: offers TLS 1.3 with one suite and one group."""
    return f"""openssl_conf = setup
[setup]
ssl_conf = ssl
[ssl]
system_default = client
[client]
MinProtocol = TLSv1.3
Ciphersuites = {TLS_SUITE}
Groups = {TLS_GROUP}
"""


#: wrk hook: prints the exact counts as one machine-readable line. Only done()
#: is defined, so wrk runs no Lua per request.
WRK_LUA = """function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    "VERSUS %d %d %d %d %d %d %d %d\\n",
    summary.requests, summary.bytes, summary.duration,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""
