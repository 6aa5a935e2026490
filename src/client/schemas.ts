/** The shapes of the API, made from its OpenAPI document; test/packages.test.ts keeps them as they are there. */
export interface components {
    schemas: {
        AccountHealth: {
            /** @description The name of the account. */
            account: string;
            /** @description The provider, like `seven` or `cm`. */
            provider: string;
            /** @description How it is configured to ask; `off` means never. */
            query: string;
            /** @description The look-up in use; `null` when nothing is asked. */
            lookup: string | null;
            /**
             * @description `refused`: the provider refuses the credentials; `unreachable`: no connection; `failing`: no good answer.
             * @enum {string}
             */
            status: "ok" | "refused" | "unreachable" | "failing";
            /** @description Why, as the last answer has it. */
            trouble: string | null;
            /** @description Since when. */
            troubleSince: string | null;
            /** @description Until when nothing is asked; a poll by hand ends it. */
            pausedUntil: string | null;
            /** @description When the provider last answered as it should, to the second or so. */
            lastGoodAnswer: string | null;
            /** @description The paused queues that its messages wait for; `null` where the queues do not answer. */
            pausedQueues: string[] | null;
            /** @description The budget of requests to the status API, all workers together. */
            requestsPerSecond: number;
            /** @description How many requests were made within the last minute, answered or not. */
            requestsLastMinute: number;
            /** @description When the first answer after that came which was not good. */
            noGoodAnswerSince: string | null;
            /** @description Why the latest of these was not. */
            lastError: string | null;
            /** @description The way its receipts take. */
            webhookRoute: {
                /**
                 * @description `silent`: receipts that should come stay away; `unproved`: none has come yet.
                 * @enum {string}
                 */
                state: "ok" | "silent" | "unproved";
                /** @description Since when; `silent` since the last receipt. */
                since: string;
                /** @description How many final statuses were found by polling since then whose receipts did not come. */
                lost: number;
                /** @description The seconds that 95 % of the receipts that come do not exceed. */
                lagP95: number | null;
            };
            /** @description When its messages are asked about, in short. */
            schedule: {
                /**
                 * @description How it is decided when to ask.
                 * @enum {string}
                 */
                policy: "learned" | "exponential";
                /** @description The seconds of waiting that a request must be worth; `null` by backoff. */
                price: number | null;
                /** @description The share of final statuses whose receipt never comes; 1 as long as none has come. */
                webhookLoss: number;
                /** @description How many final statuses this was learned from. */
                finalsSeen: number;
            };
        };
        Schedule: {
            /** @description The name of the account. */
            account: string;
            /**
             * @description How it is decided when to ask.
             * @enum {string}
             */
            policy: "learned" | "exponential";
            /** @description The seconds of waiting that a request must be worth; `null` by backoff. */
            price: number | null;
            /** @description The share of final statuses whose receipt never comes; 1 as long as none has come. */
            webhookLoss: number;
            /** @description How many final statuses this was learned from. */
            finalsSeen: number;
            /** @description The seconds that 95 % of the receipts that come do not exceed, or are taken to. */
            webhookLagP95: number;
            /** @description The ages in seconds at which a message without a receipt is asked about where it is alone. */
            alone: number[];
            /** @description The same where requests are full. */
            shared: number[];
            /** @description Ages in seconds, each with the share of messages that are final by then. */
            curve: number[][];
        };
        Alert: {
            /** @description Its number. */
            id: number;
            /**
             * @description The kind of condition.
             * @enum {string}
             */
            kind: "account-refused" | "account-unanswered" | "webhooks-silent" | "webhooks-refused" | "receiver-failing" | "callbacks-disabled" | "callbacks-given-up" | "tracking-failing" | "dispatch-overdue" | "queue-paused" | "changes-unread" | "queue-away" | "memory-short" | "disk-short" | "clock-differs" | "no-worker" | "database-away";
            /** @description An account, a receiver, a queue, a machine. */
            subject: string;
            /** @description A sentence for people. */
            message: string;
            /** @description Since when the condition holds, as far as it is known. */
            since: string;
            /** @description When it was told. */
            begunAt: string;
            /** @description When it was gone; `null` while it lasts. */
            until: string | null;
        };
        Statistics: {
            /** @description The hours in which something happened. */
            hours: {
                /** @description When it began. */
                hour: string;
                /** @description Messages by their final status. */
                ended: {
                    unknown: number;
                    rejected: number;
                    failed: number;
                    undelivered: number;
                    expired: number;
                    delivered: number;
                    read: number;
                };
                /** @description The same messages by who found it. */
                foundBy: {
                    webhook: number;
                    poll: number;
                    window: number;
                };
                /** @description By how long after it happened it was known: at most ten seconds, a minute, ten minutes, or later; without those whose window closed. */
                known: {
                    "10s": number;
                    "1m": number;
                    "10m": number;
                    later: number;
                };
                /** @description Messages that a receipt settled before anybody asked about them. */
                pollsSaved: number;
                /** @description Status queries that the provider answered. */
                requests: number;
                /** @description Messages that these asked about, or were told of. */
                ids: number;
            }[];
            /** @description The same hours together, by account. */
            accounts: {
                /** @description The name of the account. */
                account: string;
                /** @description Messages without a final status, now. */
                outstanding: number;
                /** @description For how many seconds the message that is due longest has waited to be asked about. */
                oldestDue: number;
                /** @description Messages by their final status. */
                ended: {
                    unknown: number;
                    rejected: number;
                    failed: number;
                    undelivered: number;
                    expired: number;
                    delivered: number;
                    read: number;
                };
                /** @description The same messages by who found it. */
                foundBy: {
                    webhook: number;
                    poll: number;
                    window: number;
                };
                /** @description By how long after it happened it was known: at most ten seconds, a minute, ten minutes, or later; without those whose window closed. */
                known: {
                    "10s": number;
                    "1m": number;
                    "10m": number;
                    later: number;
                };
                /** @description Messages that a receipt settled before anybody asked about them. */
                pollsSaved: number;
                /** @description Status queries that the provider answered. */
                requests: number;
                /** @description Messages that these asked about, or were told of. */
                ids: number;
            }[];
            /** @description The messages without a final status now, by the time since they were sent, to the hour. */
            outstanding: {
                ages: {
                    /** @description The most seconds since sending, more than those before; `null` for all others. */
                    upTo: number | null;
                    messages: number;
                }[];
                /** @description Messages whose look-up window ends within a day. */
                windowEndsWithinADay: number;
            };
            /** @description Why messages failed in these hours, the most frequent first. */
            reasons: {
                /** @description The provider’s code of the error, of at most 40 characters. */
                code: string;
                /** @description How many messages failed with it. */
                messages: number;
            }[];
        };
        Change: {
            /** @description The account the message was sent with. */
            account: string;
            /** @description The provider’s ID of the message in its normal form; at CM.com, your `reference`. */
            messageId: string;
            /** @description The phone number, where it is known. */
            recipient: string | null;
            /** @description The status now. */
            status: components["schemas"]["Status"];
            /** @description The status before; `null` if this is the first one. */
            previousStatus: components["schemas"]["Status"] | null;
            /** @description Whether `status` is final. */
            final: boolean;
            /**
             * @description Who found the status.
             * @enum {string}
             */
            source: "webhook" | "poll" | "window";
            /** @description When the status happened at the provider. */
            occurredAt: string;
            /** @description When the change was stored. */
            changedAt: string;
            /** @description What your app attached to the message when tracking it. */
            metadata: {
                [key: string]: unknown;
            } | null;
        };
        /**
         * @description `accepted`, `transmitted` and `buffered` are intermediate: more may come. All others are final. `unknown` is Lastword’s own word for a look-up window that closed without an answer.
         * @enum {string}
         */
        Status: "accepted" | "transmitted" | "buffered" | "unknown" | "rejected" | "failed" | "undelivered" | "expired" | "delivered" | "read";
        CallbackAttempt: {
            /** @description When it began. */
            at: string;
            /** @description How long it took. */
            seconds: number;
            /** @description The status of the answer; `null` where none came. */
            httpStatus: number | null;
            /** @description `null` where it was taken, else why not. */
            error: string | null;
            /** @description How the answer began; phone numbers, and whatever may be one, are cut to their last two digits. */
            answer: string | null;
        };
        Tracked: {
            /** @description How many messages are tracked from now on. */
            tracked: number;
            /** @description How many were tracked before, or stand in the order twice. */
            alreadyTracked: number;
            /** @description With `partial`: the messages that were not tracked. */
            refused?: {
                /** @description The place of the message in the order. */
                index: number;
                messageId: string | null;
                /** @description Where it is wrong, and what was expected. */
                reason: string;
            }[];
        };
        /** @description The account the messages were sent with, and what the provider answered. Only the IDs are required. */
        Order: {
            /** @description The name of the account the messages were sent with. */
            account: string;
            /** @description The messages; one that stands here twice counts once. */
            messages: components["schemas"]["MessageToTrack"][];
            /** @description Tracks the messages that can be tracked, and answers with the others, instead of all or none. */
            partial?: boolean;
        };
        MessageToTrack: {
            /** @description The provider’s ID of the message; at CM.com, your `reference`. A number is taken as its digits. */
            messageId: string | number;
            /** @description When the message is sent; now, if absent. At most a year ahead, and within the look-up window. Nothing is asked before. */
            sentAt?: string;
            /** @description The phone number, with its country code. Needed where one reference goes to several recipients. */
            recipient?: string;
            /** @description Whatever your app wants to find again with the message. No NUL characters, at most 100 levels with the order around; whole numbers of more than 15 digits as text. */
            metadata?: {
                [key: string]: unknown;
            };
            /** @description Where the changes of this message are sent, instead of the account’s callback URL. */
            callbackUrl?: string;
        };
        Message: {
            /** @description The account the message was sent with. */
            account: string;
            /** @description The provider’s ID of the message in its normal form; at CM.com, your `reference`. */
            messageId: string;
            /** @description The phone number as your app gave it, else as the provider named it. */
            recipient: string | null;
            /** @description The status that stands; `null` before the first report. */
            status: components["schemas"]["Status"] | null;
            /** @description Whether `status` is final: nothing is asked any more. */
            final: boolean;
            /** @description When the status happened at the provider. */
            statusAt: string | null;
            /** @description Who brought the final status: a webhook, a poll, or the closing look-up window. */
            settledBy: ("webhook" | "poll" | "window") | null;
            /** @description When the message was sent, as your app said, else when it was tracked. */
            sentAt: string;
            /** @description How many times the provider was asked about the message. */
            polls: number;
            /** @description When it is next due; `null` when nothing is to be asked any more. A time that has passed means now. */
            nextPollAt: string | null;
            /** @description When the provider’s look-up window closes. */
            windowEndsAt: string;
            /** @description What your app attached to the message when tracking it. */
            metadata: {
                [key: string]: unknown;
            } | null;
            /** @description Why the provider refused to answer about this message. It is then asked about alone, once a day. */
            queryError?: string;
        };
        MessagePage: {
            /** @description The messages, the latest sent first. */
            messages: components["schemas"]["Message"][];
            /** @description The `cursor` of the next page; `null` on the last one. */
            nextCursor: string | null;
        };
        Block: {
            /**
             * @description The kind of cause.
             * @enum {string}
             */
            cause: "not-configured" | "query-off" | "refused" | "unreachable" | "failing" | "waiting" | "queue-paused" | "queue-away" | "no-worker";
            /** @description The account that is kept back; `null` where nobody is asked. */
            account: string | null;
            /** @description Since when, where that is known. */
            since: string | null;
            /** @description Until when, where it ends by itself. */
            until: string | null;
            /** @description For people, to follow a “but”. */
            message: string;
        };
        MessageReport: {
            status: components["schemas"]["Status"];
            /** @description The provider’s own code or word, as it came. */
            rawStatus: string;
            /**
             * @description Whether the provider told it, was asked, or the look-up window closed.
             * @enum {string}
             */
            source: "webhook" | "poll" | "window";
            /** @description When it happened at the provider. */
            occurredAt: string;
            /** @description When Lastword stored it. */
            receivedAt: string;
            /**
             * @description What the report did: set the status, came too late, said it again, or denied a final status.
             * @enum {string}
             */
            outcome: "applied" | "stale" | "duplicate" | "contradicting";
            /**
             * @description The message was sent again since, under the same ID: the report counts no more.
             * @constant
             */
            earlierLife?: true;
            /** @description Why the message was not delivered, in the provider’s own words. */
            error: {
                /** @description The provider’s code of the error. */
                code?: string;
                /** @description The provider’s words for it. */
                description?: string;
            } | null;
            /** @description What else the report said: the channel, the operator, the sender’s own ID; as `datedAt`, a time that lies after the arrival and counts as the arrival. */
            details?: {
                [key: string]: unknown;
            };
        };
        MessageQuery: {
            /** @description When the answer was there. */
            at: string;
            /** @description The look-up that was asked. */
            lookup: string;
            /**
             * @description `answered` with a status; `noStatusYet`: the provider knows the message and has none; `missing`: the answer does not mention it; `failed`: there was no good answer.
             * @enum {string}
             */
            outcome: "answered" | "noStatusYet" | "missing" | "failed";
            /** @description The provider’s own code or word; `null` where it had none. */
            rawStatus: string | null;
            /** @description Why it failed. */
            error: string | null;
            /** @description How many messages the request asked about; `null` at the end of a sweep. */
            ids: number | null;
            /** @description The batch that was asked about. */
            batch: string;
            /** @description The job in Bull Board, as long as it is kept. */
            job: string | null;
        };
        MessageCallback: {
            /** @description The change it tells of. */
            change: number;
            /** @description The status it tells. */
            status: components["schemas"]["Status"] | null;
            /** @description Whom it is for: the origin of the URL. */
            receiver: string;
            /**
             * @description Waits, is called, has failed for good, or was taken.
             * @enum {string}
             */
            state: "waiting" | "calling" | "failed" | "taken";
            /** @description When it is tried again, while it waits for that. */
            nextAttemptAt: string | null;
            /** @description The latest attempts of the last seven days, the earliest first. */
            lastAttempts: components["schemas"]["CallbackAttempt"][];
        };
        MessageWithReports: {
            /** @description The account the message was sent with. */
            account: string;
            /** @description The provider’s ID of the message in its normal form; at CM.com, your `reference`. */
            messageId: string;
            /** @description The phone number as your app gave it, else as the provider named it. */
            recipient: string | null;
            /** @description The status that stands; `null` before the first report. */
            status: components["schemas"]["Status"] | null;
            /** @description Whether `status` is final: nothing is asked any more. */
            final: boolean;
            /** @description When the status happened at the provider. */
            statusAt: string | null;
            /** @description Who brought the final status: a webhook, a poll, or the closing look-up window. */
            settledBy: ("webhook" | "poll" | "window") | null;
            /** @description When the message was sent, as your app said, else when it was tracked. */
            sentAt: string;
            /** @description How many times the provider was asked about the message. */
            polls: number;
            /** @description When it is next due; `null` when nothing is to be asked any more. A time that has passed means now. */
            nextPollAt: string | null;
            /** @description When the provider’s look-up window closes. */
            windowEndsAt: string;
            /** @description What your app attached to the message when tracking it. */
            metadata: {
                [key: string]: unknown;
            } | null;
            /** @description Why the provider refused to answer about this message. It is then asked about alone, once a day. */
            queryError?: string;
            /** @description When it was tracked. */
            trackedAt: string;
            /**
             * @description Whether it is asked about at `nextPollAt`, is due now, is being asked about, or never is again. One that is due waits only for causes in `blockedBy`.
             * @enum {string}
             */
            asking: "later" | "due" | "under-way" | "never";
            /** @description How many requests about it brought no good answer within the last seven days. */
            failedPolls: number;
            /** @description The last request about it; `null` before the first. */
            lastAttempt: {
                /** @description When it ended. */
                at: string;
                /**
                 * @description As in `queries`.
                 * @enum {string}
                 */
                outcome: "answered" | "noStatusYet" | "missing" | "failed";
                /** @description Why it failed. */
                error: string | null;
            } | null;
            /** @description What keeps the provider from being asked now; empty for a final message. */
            blockedBy: components["schemas"]["Block"][];
            /** @description Every report about the message, in the order of arrival. */
            reports: components["schemas"]["MessageReport"][];
            /** @description Each time the provider was asked about it within the last seven days, in order. */
            queries: components["schemas"]["MessageQuery"][];
            /** @description Its callbacks that were not taken yet, and those of the last seven days that were, in order. */
            callbacks: components["schemas"]["MessageCallback"][];
        };
        /** @description Which messages. */
        MessageFilter: {
            /** @description Only messages of this account. */
            account?: string;
            /** @description Only messages with this ID, of whatever account. */
            messageId?: string;
            /** @description Only messages to this phone number, in any form. */
            recipient?: string;
            /**
             * @description Only messages with this status.
             * @enum {string}
             */
            status?: "accepted" | "transmitted" | "buffered" | "unknown" | "rejected" | "failed" | "undelivered" | "expired" | "delivered" | "read";
            /**
             * @description Only messages whose final status came by a webhook, by a poll, or with the end of the window.
             * @enum {string}
             */
            settledBy?: "webhook" | "poll" | "window";
            /** @description Only messages that failed with this code of the provider. */
            error?: string;
            /** @description Only messages that are asked about in this batch, or were within the last seven days. */
            batch?: string;
            /** @description Only messages sent at this time or later. */
            sentAfter?: string;
            /** @description Only messages sent before this time. */
            sentBefore?: string;
            /** @description Only messages whose metadata has these values under these keys. */
            metadata?: {
                [key: string]: unknown;
            };
            /** @description The `nextCursor` of an earlier answer to the same query. */
            cursor?: string;
        };
        PolledMessage: {
            /** @description The account the message was sent with. */
            account: string;
            /** @description The provider’s ID of the message in its normal form; at CM.com, your `reference`. */
            messageId: string;
            /** @description The phone number as your app gave it, else as the provider named it. */
            recipient: string | null;
            /** @description The status that stands; `null` before the first report. */
            status: components["schemas"]["Status"] | null;
            /** @description Whether `status` is final: nothing is asked any more. */
            final: boolean;
            /** @description When the status happened at the provider. */
            statusAt: string | null;
            /** @description Who brought the final status: a webhook, a poll, or the closing look-up window. */
            settledBy: ("webhook" | "poll" | "window") | null;
            /** @description When the message was sent, as your app said, else when it was tracked. */
            sentAt: string;
            /** @description How many times the provider was asked about the message. */
            polls: number;
            /** @description When it is next due; `null` when nothing is to be asked any more. A time that has passed means now. */
            nextPollAt: string | null;
            /** @description When the provider’s look-up window closes. */
            windowEndsAt: string;
            /** @description What your app attached to the message when tracking it. */
            metadata: {
                [key: string]: unknown;
            } | null;
            /** @description Why the provider refused to answer about this message. It is then asked about alone, once a day. */
            queryError?: string;
            /**
             * @description Whether it is asked about at `nextPollAt`, is due now, is being asked about, or never is again. One that is due waits only for causes in `blockedBy`.
             * @enum {string}
             */
            asking: "later" | "due" | "under-way" | "never";
            /** @description How many requests about it brought no good answer within the last seven days. */
            failedPolls: number;
            /** @description The last request about it; `null` before the first. */
            lastAttempt: {
                /** @description When it ended. */
                at: string;
                /**
                 * @description As in `queries`.
                 * @enum {string}
                 */
                outcome: "answered" | "noStatusYet" | "missing" | "failed";
                /** @description Why it failed. */
                error: string | null;
            } | null;
            /** @description Only where the account was paused: this request has ended that, and the message is asked about first. */
            paused?: {
                /** @description Since when the account has got no good answer. */
                since: string | null;
                /** @description Until when nobody would have asked; `null` when a probe was due. */
                until: string | null;
                /** @description Why, as the last answer has it. */
                trouble: string | null;
            };
            /** @description What keeps the provider from being asked now; empty when it is. */
            blockedBy: components["schemas"]["Block"][];
        };
        ActPage: {
            /** @description The latest first. */
            acts: {
                /** @description When it began. */
                at: string;
                /** @description The name of the key; `unnamed key`, or `no key` where none is configured. */
                by: string;
                /**
                 * @description The act.
                 * @enum {string}
                 */
                kind: "poll" | "erase" | "replay" | "pause" | "resume" | "retry" | "promote" | "clean" | "remove" | "empty" | "add" | "edit" | "limit" | "schedule" | "obliterate";
                /** @description The account of the message, or of all that were asked about. */
                account: string | null;
                /** @description The message, unless it was erased. */
                messageId: string | null;
                /** @description The queue in Bull Board. */
                queue: string | null;
                /** @description The job in Bull Board. */
                job: string | null;
                /** @description The state of the jobs that it was about, like `failed`. */
                jobs: string | null;
                /** @description How many messages, callbacks or jobs it was about. */
                count: number | null;
                /**
                 * @description `begun` where the process died before it had ended.
                 * @enum {string}
                 */
                outcome: "begun" | "done" | "refused" | "failed";
            }[];
            /** @description For the next page; `null` on the last. */
            nextCursor: string | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
