# Builds Lastword and runs one of its processes: `start` by default, or `api`, `worker`, `migrate`. It needs no root, no
# capability, and no place to write: a read-only file system will do.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.json LICENSE ./
COPY src ./src
COPY drizzle ./drizzle
# The embedded Postgres is optional and left out: a container gets DATABASE_URL.
RUN npm ci && npm prune --omit=dev --omit=optional --workspaces=false --ignore-scripts

FROM node:24-bookworm-slim
LABEL org.opencontainers.image.title="Lastword" \
      org.opencontainers.image.description="Finds the final delivery status of every SMS you send." \
      org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 METRICS_PORT=9464
WORKDIR /app
COPY --from=build /app/package.json /app/LICENSE ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/drizzle ./drizzle
# The user "node", by number, so that Kubernetes can see that it is not root.
USER 1000:1000
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s CMD ["node", "dist/cli.js", "health"]
# node itself is process 1, so that it gets SIGTERM and stops in order.
ENTRYPOINT ["node", "dist/cli.js"]
CMD ["start"]
