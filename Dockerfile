# Builds Lastword and runs one of its processes: `start` by default, or `api`, `worker`, `migrate`.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.json ./
COPY src ./src
COPY drizzle ./drizzle
# The embedded Postgres is optional and left out: a container gets DATABASE_URL.
RUN npm ci && npm prune --omit=dev --omit=optional --workspaces=false --ignore-scripts

FROM node:24-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/drizzle ./drizzle
USER node
EXPOSE 3000
# node itself is process 1, so that it gets SIGTERM and stops in order.
ENTRYPOINT ["node", "dist/cli.js"]
CMD ["start"]
