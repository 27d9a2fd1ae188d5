# Nearest centroid by cosine similarity, in AWK: proof that a method needs no Python.
#
# Usage: awk -f centroid.awk -v train=DIR -v test=DIR -v output=DIR
# DIR holds matrix.mtx (genes in rows, the entries of a cell together), cells.tsv and, for train, labels.tsv. Values
# become log(1 + counts per 10,000), a class is the sum of its cells scaled to length one. Writes predictions.csv:
# cell_id, two best labels, cosines.
#
# A matrix is read once, cell by cell, and never kept: arrays of millions of entries are slow.

function read_lines(file, into,    n, line) {
    while ((getline line < file) > 0) into[++n] = line
    close(file)
    return n
}

function fail(message) {
    print "centroid.awk: " message > "/dev/stderr"
    exit 1
}

# Moves to the first entry of a matrix file: behind the comments and the line of sizes.
function open_matrix(file) {
    split("", seen)
    while ((getline < file) > 0 && /^%/) continue
    more = (getline < file) > 0
}

# Reads the next cell: its number (cell), genes (gene[1..n]), logged profile (value[1..n]) and its squared length.
function next_cell(file,    total, i) {
    if (!more) { close(file); return 0 }
    cell = $2
    if (cell in seen) fail(file ": the entries of cell " cell " are not together")
    seen[cell]
    total = 0; square = 0
    for (n = 0; more && $2 == cell; more = (getline < file) > 0) { gene[++n] = $1; value[n] = $3; total += $3 }
    if (total == 0) n = 0
    for (i = 1; i <= n; i++) { value[i] = log(1 + 10000 * value[i] / total); square += value[i] * value[i] }
    return 1
}

BEGIN {
    n_train = read_lines(train "/cells.tsv", train_cell)
    if (read_lines(train "/labels.tsv", label) != n_train || n_train == 0)
        fail("cells.tsv and labels.tsv of " train " differ in length, or are empty")
    for (i = 1; i <= n_train; i++) {
        if (!(label[i] in number)) { number[label[i]] = ++classes; name[classes] = label[i] }
        class_of[i] = number[label[i]]
    }

    # gene and class share one number: gene * classes + class, with classes from 1
    file = train "/matrix.mtx"
    for (open_matrix(file); next_cell(file);) {
        class = class_of[cell]
        # every training cell has length one, so that deep cells do not outweigh shallow ones
        if (square > 0) { size = sqrt(square); for (i = 1; i <= n; i++) centroid[gene[i] * classes + class] += value[i] / size }
    }
    for (key in centroid) length_of[(key - 1) % classes + 1] += centroid[key] ^ 2

    n_test = read_lines(test "/cells.tsv", test_cell)
    file = test "/matrix.mtx"
    for (open_matrix(file); next_cell(file);) {
        square_of[cell] = square
        for (k = 1; k <= classes; k++) dot[k] = 0
        for (i = 1; i <= n; i++) {
            x = value[i]; key = gene[i] * classes
            for (k = 1; k <= classes; k++) dot[k] += x * centroid[key + k]
        }
        for (k = 1; k <= classes; k++) product[cell * classes + k] = dot[k]
    }

    file = output "/predictions.csv"
    print "cell_id,label_1,label_2,score_1,score_2,confidence" > file
    for (c = 1; c <= n_test; c++) {
        first = 0; second = 0
        for (k = 1; k <= classes; k++) {
            cosine[k] = (square_of[c] > 0 && length_of[k] > 0) ? product[c * classes + k] / sqrt(square_of[c] * length_of[k]) : 0
            if (!first || cosine[k] > cosine[first]) { second = first; first = k }
            else if (!second || cosine[k] > cosine[second]) second = k
        }
        printf "\"%s\",%s,%s,%.6f,%.6f,%.6f\n", test_cell[c], name[first], name[second], cosine[first], cosine[second], cosine[first] > file
    }
}
