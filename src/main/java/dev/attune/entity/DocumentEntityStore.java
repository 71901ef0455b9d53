package dev.attune.entity;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.core.PreparedStatementCreator;
import org.springframework.stereotype.Repository;

/** What the fields of each document name, in the database. */
@Repository
class DocumentEntityStore {

  private static final String COLUMNS =
      "document_id, position, entity_id, main, relation, type, label, name_key, description, popularity";

  private final JdbcTemplate jdbc;

  DocumentEntityStore(JdbcTemplate jdbc) {
    this.jdbc = jdbc;
  }

  /** Deletes the rows of documents and returns the ids of the entities they named. */
  Set<String> delete(Collection<String> documentIds) {
    Set<String> touched = new HashSet<>();
    jdbc.query(statement("delete from document_entity where document_id = any (?) returning entity_id",
        documentIds), row -> {
          touched.add(row.getString(1));
        });
    return touched;
  }

  void insert(List<DocumentEntity> rows) {
    jdbc.update(connection -> {
      PreparedStatement statement = connection.prepareStatement("insert into document_entity (" + COLUMNS
          + ") select * from unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
      text(connection, statement, 1, rows, DocumentEntity::documentId);
      statement.setArray(2, array(connection, "int4", rows, DocumentEntity::position));
      text(connection, statement, 3, rows, DocumentEntity::entityId);
      statement.setArray(4, array(connection, "bool", rows, DocumentEntity::main));
      text(connection, statement, 5, rows, DocumentEntity::relation);
      text(connection, statement, 6, rows, DocumentEntity::type);
      text(connection, statement, 7, rows, DocumentEntity::label);
      text(connection, statement, 8, rows, DocumentEntity::nameKey);
      text(connection, statement, 9, rows, DocumentEntity::description);
      statement.setArray(10, array(connection, "float8", rows, DocumentEntity::popularity));
      return statement;
    });
  }

  /**
   * How an entity is named by all documents.
   *
   * @param documents how many name it
   * @param label the most frequent spelling, the first in the alphabet of several
   */
  record Named(String entityId, String type, String label, int documents) {}

  /** Entities that documents name beside their own; all of them if {@code ids} is null. */
  Map<String, Named> named(@Nullable Collection<String> ids) {
    String sql = "select entity_id, min(type), label, count(*) from document_entity where not main"
        + (ids == null ? "" : " and entity_id = any (?)") + " group by entity_id, label";
    record Spelling(String type, String label, int count) {}
    Map<String, Spelling> best = new HashMap<>();
    Map<String, Integer> totals = new HashMap<>();
    PreparedStatementCreator query = ids == null ? connection -> connection.prepareStatement(sql)
        : statement(sql, ids);
    jdbc.query(query, row -> {
      Spelling spelling = new Spelling(row.getString(2), row.getString(3), row.getInt(4));
      totals.merge(row.getString(1), spelling.count, Integer::sum);
      best.merge(row.getString(1), spelling, (a, b) ->
          b.count > a.count || b.count == a.count && b.label.compareTo(a.label) < 0 ? b : a);
    });
    Map<String, Named> named = new HashMap<>();
    best.forEach((id, spelling) -> named.put(id, new Named(id, spelling.type, spelling.label, totals.get(id))));
    return named;
  }

  /** Rows by document, in their order; of all documents if {@code documentIds} is null. */
  Map<String, List<DocumentEntity>> read(@Nullable Collection<String> documentIds) {
    String sql = "select " + COLUMNS + " from document_entity"
        + (documentIds == null ? "" : " where document_id = any (?)") + " order by document_id, position";
    Map<String, List<DocumentEntity>> byDocument = new LinkedHashMap<>();
    PreparedStatementCreator query = documentIds == null ? connection -> connection.prepareStatement(sql)
        : statement(sql, documentIds);
    jdbc.query(query, row -> {
      byDocument.computeIfAbsent(row.getString(1), id -> new ArrayList<>()).add(new DocumentEntity(
          row.getString(1), row.getInt(2), row.getString(3), row.getBoolean(4), row.getString(5), row.getString(6),
          row.getString(7), row.getString(8), row.getString(9), (Double) row.getObject(10)));
    });
    return byDocument;
  }

  Set<String> documentIds() {
    return new HashSet<>(jdbc.queryForList("select distinct document_id from document_entity", String.class));
  }

  private static PreparedStatementCreator statement(String sql, Collection<String> texts) {
    return connection -> {
      PreparedStatement statement = connection.prepareStatement(sql);
      statement.setArray(1, connection.createArrayOf("text", texts.toArray()));
      return statement;
    };
  }

  private static void text(Connection connection, PreparedStatement statement, int index, List<DocumentEntity> rows,
      Function<DocumentEntity, @Nullable String> value) throws SQLException {
    statement.setArray(index, array(connection, "text", rows, value));
  }

  private static java.sql.Array array(Connection connection, String type, List<DocumentEntity> rows,
      Function<DocumentEntity, ? extends @Nullable Object> value) throws SQLException {
    return connection.createArrayOf(type, rows.stream().map(value).toArray());
  }
}
