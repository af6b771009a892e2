"""Configuration files for the backend and for every proxy under comparison.

Each function returns the text of one configuration. The point of this file is
that a reader who knows haproxy or nginx can check, in one place, that the
opponents were set up by somebody who wanted them to do well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from network import Network

#: Connections a proxy or backend takes: more than tcp-idle holds.
CONNECTIONS = 6144

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
    """Ports used by one invocation."""

    plain: int
    secure: int
    l4: int
    echo: int  # bytes as they are, to the echo server
    datagrams: int  # UDP to the echo server for datagrams
    admin: int
    backend: int
    status: int
    echo_backend: int
    echo_status: int
    datagrams_backend: int
    datagrams_status: int


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
worker_rlimit_nofile {2 * CONNECTIONS};
pid {site.root / name}.pid;
error_log {site.root / name}.err warn;
events {{ worker_connections {2 * CONNECTIONS}; use epoll; }}
"""


def _nginx_temp_paths(site: Site, name: str) -> str:
    """Temporary directories inside the scratch directory."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"    {k}_temp_path {site.root / name}.{k};\n" for k in kinds)


def backend(site: Site, ports: Ports, net: Network, small: str) -> str:
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
        listen {net.backend}:{ports.backend} backlog=4096;
        root {site.root / "www"};
        location = /small {{ return 200 "{small}"; }}
        location = /whoami {{
            return 200 "$remote_port|$http_x_forwarded_for|$http_x_request_id";
        }}
    }}
    server {{
        listen {net.backend}:{ports.status};
        location = /status {{ stub_status; }}
    }}
}}
"""


#: How an opponent tells the kind of a handshake, where that is checked: this
#: word, and one of RESUMED or another character.
KIND, RESUMED = "kind=", "r1"


def nginx(site: Site, ports: Ports, net: Network, big_body: bool, tell: bool = False) -> str:
    """nginx as a reverse proxy with upstream keep-alive, plus a stream listener.

    With ``tell`` it logs the kind of each handshake, which is for checks only.
    """
    log = "access_log off;"
    if tell:  # "r" or "."
        log = f"""log_format kind "{KIND}$ssl_session_reused";
    access_log {site.root}/nginx.kinds kind;"""
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
    {log}
    server_tokens off;
    keepalive_requests {MANY};
    keepalive_timeout 300s;
    tcp_nodelay on;

    upstream site {{
        server {net.backend}:{ports.backend} max_fails=0;
        keepalive 128;
        keepalive_requests {MANY};
        keepalive_timeout 300s;
    }}

    server {{
        listen {net.proxy}:{ports.plain} backlog=4096;
        listen {net.proxy}:{ports.secure} ssl http2 backlog=4096;
        ssl_certificate {site.cert};
        ssl_certificate_key {site.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ecdh_curve X25519:prime256v1;
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
    upstream site {{ server {net.backend}:{ports.backend} max_fails=0; }}
    server {{
        listen {net.proxy}:{ports.l4} backlog=4096;
        tcp_nodelay on;
        proxy_buffer_size {stream_buffer};
        proxy_pass site;
    }}

    upstream echo {{ server {net.backend}:{ports.echo_backend} max_fails=0; }}
    server {{
        listen {net.proxy}:{ports.echo} backlog=4096;
        tcp_nodelay on;
        proxy_buffer_size {stream_buffer};
        proxy_pass echo;
    }}

    upstream datagrams {{ server {net.backend}:{ports.datagrams_backend} max_fails=0; }}
    server {{
        # Queues as large as the kernel allows, or a burst would be lost here.
        listen {net.proxy}:{ports.datagrams} udp rcvbuf=4m sndbuf=4m;
        proxy_timeout 60s;
        proxy_pass datagrams;
    }}
}}
"""


#: Kinds of kernel splicing in haproxy: always, or where haproxy sees a stream.
SPLICE = {"always": "option splice-request\n    option splice-response", "auto": "option splice-auto", "": ""}


def haproxy(
    site: Site, ports: Ports, net: Network, splice: str = "", bufsize: int | None = None,
    tell: bool = False,
) -> str:  # fmt: skip
    """haproxy with one thread; ``splice`` is one of SPLICE.

    ``tune.bufsize`` stays at its default, 16384, unless ``bufsize`` is given.
    With ``tell`` it logs the kind of each handshake, which is for checks only.
    """
    log = "log stdout format raw local0\n    " if tell else ""
    log += f"log-format {KIND}%[ssl_fc_is_resumed]" if tell else ""  # 1 or 0
    tune = f"tune.bufsize {bufsize}" if bufsize else ""
    options = SPLICE[splice]
    return f"""global
    nbthread 1
    maxconn {CONNECTIONS}
    ssl-default-bind-options ssl-min-ver TLSv1.2
    # No log line and no stats socket.
    {tune}

defaults
    mode http
    option http-keep-alive
    unique-id-format %[uuid()]
    timeout connect 5s
    timeout client 300s
    timeout server 60s
    timeout http-keep-alive 300s
    maxconn {CONNECTIONS}
    {options}

frontend plain
    bind {net.proxy}:{ports.plain} backlog 4096
    http-request set-header X-Forwarded-Proto http
    default_backend site

frontend secure
    bind {net.proxy}:{ports.secure} backlog 4096 ssl crt {site.pem} curves X25519:P-256 alpn h2,http/1.1
    {log}
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
    server one {net.backend}:{ports.backend} check inter 1s

frontend l4
    mode tcp
    bind {net.proxy}:{ports.l4} backlog 4096
    default_backend l4

backend l4
    mode tcp
    server one {net.backend}:{ports.backend} check inter 1s

frontend echo
    mode tcp
    bind {net.proxy}:{ports.echo} backlog 4096
    default_backend echo

backend echo
    mode tcp
    server one {net.backend}:{ports.echo_backend} check inter 1s
"""


def sluice(site: Site, ports: Ports, net: Network, datagrams: bool = False) -> str:
    """sluice with one data worker and a probe every second; a UDP listener only where it is measured."""
    udp_listener = f"""  datagrams:
    bind: "{net.proxy}:{ports.datagrams}"
    protocol: udp
    pool: datagrams
""" if datagrams else ""
    udp_pool = f"""  datagrams:
    backends: ["{net.backend}:{ports.datagrams_backend}"]
    probe: none
""" if datagrams else ""
    return f"""process: {{admin: "127.0.0.1:{ports.admin}", workers: 1}}
listeners:
  plain:
    bind: "{net.proxy}:{ports.plain}"
    protocol: http
    routes: [{{pool: site}}]
    timeouts: {{keep_alive: 300s}}
  secure:
    bind: "{net.proxy}:{ports.secure}"
    protocol: https
    certificates: [{{cert: "{site.cert}", key: "{site.key}"}}]
    routes: [{{pool: site}}]
    timeouts: {{keep_alive: 300s}}
  l4:
    bind: "{net.proxy}:{ports.l4}"
    protocol: tcp
    pool: site
  echo:
    bind: "{net.proxy}:{ports.echo}"
    protocol: tcp
    pool: echo
{udp_listener}pools:
  site:
    backends: ["{net.backend}:{ports.backend}"]
    probe: {{http: /small, every: 1s}}
  echo:
    backends: ["{net.backend}:{ports.echo_backend}"]
    probe: {{every: 1s}}
{udp_pool}"""


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
