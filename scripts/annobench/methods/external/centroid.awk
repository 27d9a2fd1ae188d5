# Nearest centroid by cosine similarity, in AWK: proof that a method needs no Python.
#
# Usage: awk -f centroid.awk -v train=DIR -v test=DIR -v output=DIR
# DIR holds matrix.mtx (genes in rows), cells.tsv and, for train, labels.tsv. Values become log(1 + counts per 10,000),
# a class is the sum of its cells scaled to length one. Writes predictions.csv: cell_id, two best labels, cosines.
#
# Every matrix is read several times instead of being kept: reading is fast, arrays of millions of entries are not.

function read_lines(file, into,    n, line) {
    while ((getline line < file) > 0) into[++n] = line
    close(file)
    return n
}

# Moves to the first entry of a matrix file: behind the comments and the line of sizes.
function open_matrix(file) {
    while ((getline < file) > 0 && /^%/) continue
}

# Counts of every cell, and the squared length of its logged profile.
function measure(file,    x) {
    split("", total); split("", square)
    for (open_matrix(file); (getline < file) > 0;) total[$2] += $3
    close(file)
    for (open_matrix(file); (getline < file) > 0;) { x = log(1 + 10000 * $3 / total[$2]); square[$2] += x * x }
    close(file)
}

BEGIN {
    n_train = read_lines(train "/cells.tsv", train_cell)
    if (read_lines(train "/labels.tsv", label) != n_train || n_train == 0) {
        print "centroid.awk: cells.tsv and labels.tsv of " train " differ in length, or are empty" > "/dev/stderr"
        exit 1
    }
    for (i = 1; i <= n_train; i++) {
        if (!(label[i] in number)) { number[label[i]] = ++classes; name[classes] = label[i] }
        class_of[i] = number[label[i]]
    }

    # every training cell has length one, so that deep cells do not outweigh shallow ones
    file = train "/matrix.mtx"
    measure(file)
    for (open_matrix(file); (getline < file) > 0;)
        if (square[$2] > 0) centroid[$1 * classes + class_of[$2]] += log(1 + 10000 * $3 / total[$2]) / sqrt(square[$2])
    close(file)
    # gene and class share one number: gene * classes + class, with classes from 1
    for (key in centroid) length_of[(key - 1) % classes + 1] += centroid[key] ^ 2

    n_test = read_lines(test "/cells.tsv", test_cell)
    file = test "/matrix.mtx"
    measure(file)
    for (open_matrix(file); (getline < file) > 0;) {
        x = log(1 + 10000 * $3 / total[$2])
        for (k = 1; k <= classes; k++) if ((key = $1 * classes + k) in centroid) dot[$2 * classes + k] += x * centroid[key]
    }
    close(file)

    file = output "/predictions.csv"
    print "cell_id,label_1,label_2,score_1,score_2,confidence" > file
    for (c = 1; c <= n_test; c++) {
        first = 0; second = 0
        for (k = 1; k <= classes; k++) {
            cosine[k] = (square[c] > 0 && length_of[k] > 0) ? dot[c * classes + k] / sqrt(square[c] * length_of[k]) : 0
            if (!first || cosine[k] > cosine[first]) { second = first; first = k }
            else if (!second || cosine[k] > cosine[second]) second = k
        }
        printf "\"%s\",%s,%s,%.6f,%.6f,%.6f\n", test_cell[c], name[first], name[second], cosine[first], cosine[second], cosine[first] > file
    }
}
