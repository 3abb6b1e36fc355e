// Requests that a caller sends without waiting for the answers (RFC 9112, section 9.3.2): a few of each connection are under way
// at once, the others wait in order, and nothing more is read from it until they have begun.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

const underWayMax = 10;

type Pipeline = { underWay: number; readonly waiting: (() => void)[]; last: IncomingMessage | undefined; held: boolean };

export function addPipeline(app: FastifyInstance): void {
  const pipelines = new WeakMap<Socket, Pipeline>();

  function pipelineOf(socket: Socket): Pipeline {
    const known = pipelines.get(socket);
    if (known !== undefined) return known;
    const pipeline: Pipeline = { underWay: 0, waiting: [], last: undefined, held: false };
    pipelines.set(socket, pipeline);
    // Node resumes by itself where a message ends or a body is read.
    socket.on('resume', () => {
      if (pipeline.held) socket.pause();
    });
    return pipeline;
  }

  // Before any other hook: a request that waits has no trace, no limit and no line yet.
  app.addHook('onRequest', ({ raw }, reply, done) => {
    const { socket } = raw;
    const pipeline = pipelineOf(socket);
    pipeline.last = raw;
    const begin = () => {
      pipeline.underWay += 1;
      reply.raw.once('close', () => {
        pipeline.underWay -= 1;
        // Not at once, so that requests of others come between.
        if (pipeline.held) setImmediate(proceed, pipeline, socket);
      });
      done();
    };
    if (pipeline.underWay < underWayMax && pipeline.waiting.length === 0) return begin();
    pipeline.waiting.push(begin);
    pipeline.held = true;
    socket.pause();
  });
}

function proceed(pipeline: Pipeline, socket: Socket): void {
  // Nobody is left to be answered.
  if (!socket.writable) pipeline.waiting.length = 0;
  while (pipeline.underWay < underWayMax) {
    const begin = pipeline.waiting.shift();
    if (begin === undefined) break;
    begin();
  }
  // Not before the last of them has its answer, unless it waits for its body: the end of what the caller sends, which may come
  // next, ends the connection.
  if (pipeline.waiting.length === 0 && (pipeline.underWay === 0 || pipeline.last?.complete !== true)) {
    pipeline.held = false;
    socket.resume();
  }
}
