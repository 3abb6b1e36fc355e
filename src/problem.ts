// A refusal that the caller can understand, and the one table of all of them (RFC 9457).

export const problems = {
  malformed_request: { status: 400, title: 'The request is not valid HTTP' },
  malformed_body: { status: 400, title: 'The body cannot be read' },
  validation_failed: { status: 400, title: 'The request breaks a rule' },
  cross_site_request: { status: 403, title: 'A page of another site may not do this' },
  not_found: { status: 404, title: 'Nothing is here' },
  user_not_found: { status: 404, title: 'No such user' },
  method_not_allowed: { status: 405, title: 'This path does not know the method' },
  request_timeout: { status: 408, title: 'The request took too long to arrive' },
  user_referenced: { status: 409, title: 'Other data refer to the user' },
  user_conflict: { status: 409, title: 'Another user has the same value' },
  user_rejected: { status: 409, title: 'The table of the users refuses the change' },
  cursor_expired: { status: 410, title: 'The events after this cursor are no longer kept' },
  body_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'The body is of a type that is not read here' },
  expectation_failed: { status: 417, title: 'The expectation cannot be met' },
  misdirected_request: { status: 421, title: 'The host is none of this service' },
  rate_limited: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  internal_error: { status: 500, title: 'The service failed' },
  database_unavailable: { status: 503, title: 'The database cannot be reached' },
  overloaded: { status: 503, title: 'The service has more work than it can do' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof problems;

/** One broken rule: where (`key`, within `source`) and what (`message`). The shape is that of the LiteStar service. */
export type Violation = { key: string; message: string; source: 'body' | 'query' | 'path' | 'header' };

export class Problem extends Error {
  readonly code: ProblemCode;
  readonly violations: readonly Violation[];
  readonly headers: Readonly<Record<string, string>>;

  /** @param detail said to the caller as it stands: never SQL, a stack or a secret */
  constructor(
    code: ProblemCode,
    detail: string,
    options: { violations?: readonly Violation[]; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause });
    this.name = 'Problem';
    this.code = code;
    this.violations = options.violations ?? [];
    this.headers = options.headers ?? {};
  }

  get status(): number {
    return problems[this.code].status;
  }
}
