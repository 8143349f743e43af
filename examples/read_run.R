# Read a run in R: install.packages("ncdf4")
#
#   Rscript examples/read_run.R docs/examples/five-models-four-runtimes-2-cores
#
# dataset.nc is netCDF-4 with CF attributes: every variable has units, a long_name and its labels.
suppressPackageStartupMessages(library(ncdf4))

run <- commandArgs(trailingOnly = TRUE)[1]
file <- nc_open(file.path(run, "dataset.nc"))

labels <- function(name) as.character(ncvar_get(file, name))
energy <- ncvar_get(file, "energy_per_image", collapse_degen = FALSE) # J; R has the last axis first
axes <- vapply(file$var$energy_per_image$dim, function(axis) axis$name, "")
dimnames(energy) <- setNames(lapply(axes, labels), axes)
cat("energy_per_image:", paste(axes, collapse = " x "), "\n")
cat("unit:", ncatt_get(file, "energy_per_image", "units")$value, "\n")

# The source of every figure: an estimate is not a measurement.
sources <- ncvar_get(file, "energy_per_image_source")
meanings <- strsplit(ncatt_get(file, "energy_per_image_source", "flag_meanings")$value, " ")[[1]]
values <- ncatt_get(file, "energy_per_image_source", "flag_values")$value
print(table(source = factor(sources, values, meanings)))

# Geometric mean over repetitions with a 95 % interval (Student's t on logarithms).
interval <- function(x) {
  x <- log(x[is.finite(x)])
  if (length(x) < 3) return(c(energy_j = exp(mean(x)), low = NA, high = NA))
  half <- qt(0.975, length(x) - 1) * sd(x) / sqrt(length(x))
  exp(c(energy_j = mean(x), low = mean(x) - half, high = mean(x) + half))
}
cells <- expand.grid(dimnames(energy)[axes != "repetition"], stringsAsFactors = FALSE)
cells <- cbind(cells, t(matrix(apply(energy, which(axes != "repetition"), interval), 3,
                               dimnames = list(c("energy_j", "low", "high"), NULL))))
cells <- cells[is.finite(cells$energy_j), ]

# The cell with the least energy of each model.
best <- lapply(split(cells, cells$model), function(rows) rows[which.min(rows$energy_j), ])
print(do.call(rbind, best), row.names = FALSE, digits = 3)

# The journal has a record in each line, as JSON: the package jsonlite reads them.
cat(length(readLines(file.path(run, "journal.jsonl"))), "records in the journal\n")
nc_close(file)
