// Node-RED with everything off that a run does not need: no editor, no admin API, no telemetry, only warnings logged.
// What is stored goes to the file that BENCH_SAMPLES names.
const fs = require("node:fs");

// Lines for the second flow, on the disk before they are called stored. Node-RED itself syncs nothing. One sync serves
// every line that came while the one before was under way.
const file = fs.openSync(`${process.env.BENCH_SAMPLES}.synced`, "a");
let waiting = [];
let atWork = false;

function writeWaiting() {
    const group = waiting;
    waiting = [];
    atWork = true;
    const ended = (error) => {
        atWork = false;
        if (waiting.length > 0) {
            writeWaiting();
        }
        group.forEach((entry) => entry.stored(error));
    };
    fs.write(file, group.map((entry) => entry.line).join(""), (error) => {
        if (error) {
            ended(error);
        } else {
            fs.fdatasync(file, ended);
        }
    });
}

function store(line, stored) {
    waiting.push({ line, stored });
    if (!atWork) {
        writeWaiting();
    }
}

module.exports = {
    uiHost: "127.0.0.1",
    uiPort: process.env.PORT,
    disableEditor: true,
    httpAdminRoot: false,
    telemetry: { enabled: false },
    diagnostics: { enabled: false },
    runtimeState: { enabled: false },
    logging: { console: { level: "warn", metrics: false, audit: false } },
    functionGlobalContext: { store },
};
