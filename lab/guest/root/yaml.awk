# The subset of YAML that NoCloud seeds are written in (and so JSON), flattened: one line PATH=VALUE for each scalar,
# as `ethernets/lan/addresses/0=10.91.0.60/24`. Block and flow mappings and lists, quotes, comments and literal blocks;
# no anchors, tags or documents.

function trim(s) { gsub(/^[ \t\r\n]+|[ \t\r\n]+$/, "", s); return s }
function emit(path, value) { print path "=" value }
function join(path, key) { return path == "" ? key : path "/" key }

# Cut a comment that is outside quotes.
function bare(s,   i, c, quote) {
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (quote) { if (c == "\\" && quote == "\"") i++; else if (c == quote) quote = "" }
        else if ((c == "\"" || c == "'") && (i == 1 || substr(s, i - 1, 1) ~ /[ \t:,[{-]/)) quote = c
        else if (c == "#" && (i == 1 || substr(s, i - 1, 1) ~ /[ \t]/)) return substr(s, 1, i - 1)
    }
    return s
}
function unquote(s,   q) {
    s = trim(s)
    q = substr(s, 1, 1)
    if (length(s) > 1 && (q == "\"" || q == "'") && substr(s, length(s)) == q) {
        s = substr(s, 2, length(s) - 2)
        if (q == "\"") { gsub(/\\n/, "\n", s); gsub(/\\"/, "\"", s); gsub(/\\\\/, "\\", s) }
        else gsub(/''/, "'", s)
    }
    return s
}

# Flow style: the text is in F, the place in P.
function space() { while (substr(F, P, 1) ~ /[ \t\r\n]/ && P <= length(F)) P++ }
function word(stops,   c, start) {
    space(); start = P; c = substr(F, P, 1)
    if (c == "\"" || c == "'") {
        for (P++; P <= length(F) && substr(F, P, 1) != c; P++) if (substr(F, P, 1) == "\\" && c == "\"") P++
        P++
        return unquote(substr(F, start, P - start))
    }
    while (P <= length(F) && index(stops, substr(F, P, 1)) == 0 &&
           !(index(stops, "=") && substr(F, P, 1) == ":" && substr(F, P + 1, 1) ~ /[ \t\r\n]/)) P++
    return trim(substr(F, start, P - start))
}
function flow(path,   c, n, key) {
    space(); c = substr(F, P, 1)
    if (c == "{") {
        P++
        for (space(); P <= length(F) && substr(F, P, 1) != "}"; space()) {
            key = word("=,}"); space()
            if (substr(F, P, 1) == ":") P++
            flow(join(path, key)); space()
            if (substr(F, P, 1) == ",") P++
        }
        P++
    } else if (c == "[") {
        P++; n = 0
        for (space(); P <= length(F) && substr(F, P, 1) != "]"; space()) {
            flow(join(path, n++)); space()
            if (substr(F, P, 1) == ",") P++
        }
        P++
    } else emit(path, word(",]}"))
}
function balance(s,   opened, t) {
    t = s; opened = gsub(/[[{]/, "", t); t = s
    return opened - gsub(/[]}]/, "", t)
}

# Block style: the line's indent decides whose child it is.
function value(path, text, indent,   literal, body, deep) {
    text = trim(bare(text))
    if (text ~ /^[[{]/) {
        while (balance(text) > 0 && L < count) text = text "\n" bare(line[++L])
        F = text; P = 1; flow(path)
    } else if (text ~ /^[|>][-+]?$/) {
        deep = 0
        while (L < count && (line[L + 1] ~ /^[ \t]*$/ || match(line[L + 1], /[^ ]/) - 1 > indent)) {
            L++
            if (!deep) deep = match(line[L], /[^ ]/)
            body = body (body == "" ? "" : "\n") substr(line[L], deep)
        }
        emit(path, body)
    } else emit(path, unquote(text))
}
function block(text, indent,   path, key, at) {
    while (depth > 0 && at_indent[depth] >= indent) depth--
    path = depth > 0 ? at_path[depth] : ""
    if (text ~ /^-([ \t]|$)/) {
        # A list may stand at its key's own indent: that of the last key there that had no value.
        if ((indent in empty) && (path == "" || index(empty[indent], path "/") == 1)) path = empty[indent]
        key = join(path, items[path]++)
        depth++; at_indent[depth] = indent; at_path[depth] = key
        sub(/^-[ \t]*/, "", text)
        if (trim(bare(text)) == "") return
        if (text ~ /^[^ \t"'[{][^"'[{]*:([ \t]|$)/) { block(text, indent + 2); return }
        value(key, text, indent)
        return
    }
    at = match(text, /:([ \t]|$)/)
    if (!at) return
    key = join(path, unquote(substr(text, 1, at - 1)))
    text = substr(text, at + 1)
    if (trim(bare(text)) == "") {
        depth++; at_indent[depth] = indent; at_path[depth] = key
        empty[indent] = key
        return
    }
    delete empty[indent]
    value(key, text, indent)
}
{ line[++count] = $0 }
END {
    for (L = 1; L <= count; L++) {
        if (line[L] ~ /^[ \t]*(#|$)/ || line[L] ~ /^(---|\.\.\.)/) continue
        if (line[L] ~ /^[ \t]*[{[]/ && depth == 0) {
            F = ""
            for (; L <= count; L++) F = F line[L] "\n"
            P = 1; flow("")
            break
        }
        block(substr(line[L], match(line[L], /[^ ]/)), match(line[L], /[^ ]/) - 1)
    }
}
