# Of the benchmarks that read by HTTP; to be sourced.

# Serves the directory $1 from nginx on this machine, whose own files are in $scratch; sets port, and server, its process.
serve() {
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    mkdir "$scratch/nginx"
    cat >"$scratch/nginx/conf" <<CONF
daemon off; pid $scratch/nginx/pid; error_log $scratch/nginx/errors; events {}
http { access_log off; client_body_temp_path $scratch/nginx/a; proxy_temp_path $scratch/nginx/b;
fastcgi_temp_path $scratch/nginx/c; uwsgi_temp_path $scratch/nginx/d; scgi_temp_path $scratch/nginx/e;
server { listen 127.0.0.1:$port; root $1; } }
CONF
    nginx -c "$scratch/nginx/conf" -e "$scratch/nginx/errors" &
    server=$!
    sleep 1
}
