# A worker, and the command line: docker run … ch-recover doctor --cluster prod
FROM node:20.19.5-bookworm-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends build-essential python3 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json ./
# As scripts/setup.mjs: only the ZooKeeper client has something to compile.
RUN npm ci --ignore-scripts --no-audit --no-fund && npm rebuild zookeeper --ignore-scripts=false --foreground-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/bundle-workflows.mjs scripts/
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:20.19.5-bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates tini && rm -rf /var/lib/apt/lists/* \
  && mkdir /reports && chown node:node /reports
ENV NODE_ENV=production
COPY --from=build /app/package.json /app/package.json
COPY --from=build /app/node_modules /app/node_modules
COPY --from=build /app/dist /app/dist
RUN ln -s /app/dist/cli.js /usr/local/bin/ch-recover && chmod +x /app/dist/cli.js
USER node
# node as process 1 would not act on SIGTERM's default, nor collect the child process of the ZooKeeper client.
ENTRYPOINT ["tini", "--", "ch-recover"]
CMD ["worker"]
