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
case ${version#v} in
0.* | 1.*) fail "Docker Compose $version is too old: install Compose 2 or newer, see https://docs.docker.com/compose/install/." ;;
esac
docker info >/dev/null 2>&1 ||
  fail 'The Docker engine does not answer: start it, or let this user talk to it (on Linux: sudo usermod -aG docker YOUR_NAME, then sign in again).'

if [ ! -f .env ]; then
  # The volumes keep the passwords of the day on which they were made.
  if docker volume inspect rollcall_postgres >/dev/null 2>&1; then
    fail 'There is no .env, but there is data of an earlier run: restore that .env, or remove the data with "docker volume rm rollcall_postgres rollcall_rabbitmq".'
  fi
  grep -v -e '^POSTGRES_PASSWORD=' -e '^RABBITMQ_PASSWORD=' .env.example >.env.new
  {
    echo "POSTGRES_PASSWORD=$(random_password)"
    echo "RABBITMQ_PASSWORD=$(random_password)"
  } >>.env.new
  mv .env.new .env
  echo 'Wrote .env with random passwords.'
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
