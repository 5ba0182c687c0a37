import type { OpenAPIHono } from '@hono/zod-openapi';
import { html, raw } from 'hono/html';

type Document = ReturnType<OpenAPIHono['getOpenAPI31Document']>;
type Operation = NonNullable<NonNullable<Document['paths']>[string]['get']>;

const STYLE = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
  section { border-top: 1px solid #8886; padding: .75rem 0; }
  h2 { font: 600 1rem ui-monospace, monospace; margin: 0; overflow-wrap: anywhere; }
  p { margin: .25rem 0; }
  pre { overflow-x: auto; font-size: .8rem; }
`;

/** `/openapi.json` for people: one page, without scripts and without anything from elsewhere. */
export function docsPage(document: Document) {
  const operations = Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    (['get', 'post'] as const).flatMap((method) => {
      const operation = item[method];
      return operation ? [section(method, path, operation)] : [];
    }),
  );
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>${document.info.title}</title>
        <style>
          ${raw(STYLE)}
        </style>
      </head>
      <body>
        <h1>${document.info.title}: HTTP API</h1>
        <p>
          ${document.info.description} Send <code>Authorization: Bearer TOKEN</code>.
          <a href="/openapi.json">openapi.json</a>
        </p>
        ${operations}
      </body>
    </html>`;
}

function section(method: string, path: string, operation: Operation) {
  const responses = Object.entries(operation.responses ?? {}) as [string, { description?: string }][];
  const answers = responses.map(([status, { description }]) => html`<li><b>${status}</b> ${description ?? ''}</li>`);
  const schemas = { parameters: operation.parameters, requestBody: operation.requestBody };
  const hasSchemas = operation.parameters !== undefined || operation.requestBody !== undefined;
  return html`<section>
    <h2>${method.toUpperCase()} ${path}</h2>
    <p>${operation.summary}</p>
    <p>${operation.description ?? ''}</p>
    <ul>
      ${answers}
    </ul>
    ${
      hasSchemas
        ? html`<details>
            <summary>what it takes</summary>
            <pre>${JSON.stringify(schemas, null, 2)}</pre>
          </details>`
        : ''
    }
  </section>`;
}
