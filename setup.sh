#!/bin/sh
# Brings Rollcall up in containers: checks for Docker, writes .env where there is none, starts compose.yaml and waits until all is healthy.
set -eu
cd "$(dirname "$0")"
umask 077

fail() {
  echo "$1" >&2
  exit 1
}

random_password() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

command -v docker >/dev/null 2>&1 ||
  fail 'Docker is not installed: see https://docs.docker.com/get-docker/, or run Rollcall without it: npm ci && npm start.'
version=$(docker compose version --short 2>/dev/null) ||
  fail 'Docker has no Compose plugin: install Compose 2 or newer, see https://docs.docker.com/compose/install/.'
# "up --wait" came with 2.1.1.
case ${version#v} in
0.* | 1.* | 2.0.* | 2.1.0*) fail "Docker Compose $version is too old: install Compose 2.1.1 or newer, see https://docs.docker.com/compose/install/." ;;
esac
docker info >/dev/null 2>&1 ||
  fail 'The Docker engine does not answer: start it, or let this user talk to it (on Linux: sudo usermod -aG docker YOUR_NAME, then sign in again).'

# Docker Desktop and rootless engines keep containers apart from the network; what does not say its version is not judged.
engine=$(docker version --format '{{.Server.Version}}' 2>/dev/null) || engine=
case $engine in
1[0-9].* | 2[0-7].*)
  cat >&2 <<END
Warning: Docker Engine $engine lets other machines on the same network segment reach ports that are published on 127.0.0.1
(moby issue 45610). There is no sign-in yet: they could read and change every user. Install Docker Engine 28 or newer, or keep
strangers off that network.
END
  ;;
esac

# Of the passwords of .env, or of the example where there is none: those without a value.
missing=
source=.env
[ -f .env ] || source=.env.example
for name in POSTGRES_PASSWORD RABBITMQ_PASSWORD; do
  if grep -q "^$name=" "$source" && ! grep -q "^$name=[\"']*[^\"'[:space:]#]" "$source"; then missing="$missing $name"; fi
done
if [ -n "$missing" ]; then
  # The volumes keep the passwords of the day on which they were made.
  if docker volume inspect rollcall_postgres >/dev/null 2>&1; then
    [ -f .env ] && what=".env has no value for$missing" || what='There is no .env'
    fail "$what, but there is data of an earlier run: restore that .env, or remove the data with \"docker compose -p rollcall down --volumes\"."
  fi
  cat "$source" >.env.new
  for name in $missing; do
    grep -v "^$name=" .env.new >.env.next || true
    echo "$name=$(random_password)" >>.env.next
    mv .env.next .env.new
  done
  mv .env.new .env
  echo "Wrote .env with random passwords:$missing."
fi

docker compose up --build --detach --wait ||
  fail 'Rollcall did not come up: "docker compose ps" says which part, "docker compose logs" why.'

api="http://$(docker compose port api 8000)"
cat <<END

Rollcall runs.

  API          $api/users/
  Swagger UI   $api/schema
  RabbitMQ     http://$(docker compose port rabbitmq 15672), user rollcall, its password in .env

Stop it with "docker compose down"; the data stays until "docker compose down --volumes".
END
