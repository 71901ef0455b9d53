package dev.attune.entity;

import java.sql.Array;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Repository;

/**
 * The curated entities and the overrides in the database. Plain SQL: imports are sets of rows that replace others,
 * and reading streams them.
 */
@Repository
class EntityStore {

  private final JdbcTemplate jdbc;

  EntityStore(JdbcTemplate jdbc) {
    this.jdbc = jdbc;
  }

  /** Writes entities; ids must differ from each other. */
  void replace(String source, List<Entity> entities) {
    String[] ids = column(entities, Entity::id);
    update("delete from entity where id = any (?)", ids);
    jdbc.update(connection -> {
      PreparedStatement statement = connection.prepareStatement(
          "insert into entity (source, id, label, type, description, prior) "
              + "select ?, * from unnest(?, ?, ?, ?, ?)");
      statement.setString(1, source);
      statement.setArray(2, text(connection, ids));
      statement.setArray(3, text(connection, column(entities, Entity::label)));
      statement.setArray(4, text(connection, column(entities, Entity::type)));
      statement.setArray(5, text(connection, column(entities, Entity::description)));
      statement.setArray(6, connection.createArrayOf("float8", entities.stream().map(Entity::prior).toArray()));
      return statement;
    });
    List<String> owner = new ArrayList<>();
    List<Integer> position = new ArrayList<>();
    List<String> alias = new ArrayList<>();
    for (Entity entity : entities) {
      for (int i = 0; i < entity.aliases().size(); i++) {
        owner.add(entity.id());
        position.add(i);
        alias.add(entity.aliases().get(i));
      }
    }
    jdbc.update(connection -> {
      PreparedStatement statement = connection.prepareStatement(
          "insert into entity_alias (entity_id, position, alias) select * from unnest(?, ?, ?)");
      statement.setArray(1, text(connection, owner.toArray()));
      statement.setArray(2, connection.createArrayOf("int4", position.toArray()));
      statement.setArray(3, text(connection, alias.toArray()));
      return statement;
    });
    replaceNeighbours(entities);
  }

  private void replaceNeighbours(List<Entity> entities) {
    List<String> owner = new ArrayList<>();
    List<Integer> position = new ArrayList<>();
    List<String> neighbour = new ArrayList<>();
    List<String> relation = new ArrayList<>();
    for (Entity entity : entities) {
      for (int i = 0; i < entity.neighbours().size(); i++) {
        owner.add(entity.id());
        position.add(i);
        neighbour.add(entity.neighbours().get(i).id());
        relation.add(entity.neighbours().get(i).relation());
      }
    }
    jdbc.update(connection -> {
      PreparedStatement statement = connection.prepareStatement(
          "insert into entity_neighbour (entity_id, position, neighbour_id, relation) "
              + "select * from unnest(?, ?, ?, ?)");
      statement.setArray(1, text(connection, owner.toArray()));
      statement.setArray(2, connection.createArrayOf("int4", position.toArray()));
      statement.setArray(3, text(connection, neighbour.toArray()));
      statement.setArray(4, text(connection, relation.toArray()));
      return statement;
    });
  }

  /** Deletes an entity with its names and relations; returns its id, nothing if it is not there. */
  List<String> delete(String id) {
    return jdbc.queryForList("delete from entity where id = ? returning id", String.class, id);
  }

  /** Deletes the entities of a source; returns their ids. */
  List<String> deleteSource(String source) {
    return jdbc.queryForList("delete from entity where source = ? returning id", String.class, source);
  }

  /** Visits every curated entity, in the order of ids. */
  void forEach(Consumer<KnowledgeRow> visitor) {
    Map<String, List<String>> aliases = new HashMap<>();
    jdbc.query("select entity_id, alias from entity_alias order by entity_id, position",
        row -> {
          aliases.computeIfAbsent(row.getString(1), id -> new ArrayList<>()).add(row.getString(2));
        });
    Map<String, List<Entity.Neighbour>> neighbours = new HashMap<>();
    Map<String, String> relations = new HashMap<>();
    jdbc.query("select entity_id, neighbour_id, relation from entity_neighbour order by entity_id, position",
        row -> {
          String relation = relations.computeIfAbsent(row.getString(3), Function.identity());
          neighbours.computeIfAbsent(row.getString(1), id -> new ArrayList<>())
              .add(new Entity.Neighbour(row.getString(2), relation));
        });
    jdbc.query("select id, source, label, type, description, prior from entity", row -> {
      String id = row.getString(1);
      visitor.accept(new KnowledgeRow(
          new Entity(id, row.getString(3), aliases.getOrDefault(id, List.of()), row.getString(4), row.getString(5),
              row.getDouble(6), neighbours.getOrDefault(id, List.of())),
          row.getString(2), null));
    });
  }

  /** The revision of the knowledge base; held until the end of the transaction, so that writers take turns. */
  UUID lockRevision() {
    return Objects.requireNonNull(jdbc.queryForObject("select id from knowledge_revision for update", UUID.class));
  }

  /** Marks a change and returns the new revision. */
  UUID newRevision() {
    return Objects.requireNonNull(
        jdbc.queryForObject("update knowledge_revision set id = gen_random_uuid() returning id", UUID.class));
  }

  Map<String, Optional<String>> overrides() {
    Map<String, Optional<String>> overrides = new HashMap<>();
    jdbc.query("select alias, entity_id from linker_override",
        row -> {
          overrides.put(row.getString(1), Optional.ofNullable(row.getString(2)));
        });
    return overrides;
  }

  void putOverride(String alias, @Nullable String entityId) {
    jdbc.update("insert into linker_override (alias, entity_id) values (?, ?) "
        + "on conflict (alias) do update set entity_id = excluded.entity_id", alias, entityId);
  }

  boolean deleteOverride(String alias) {
    return jdbc.update("delete from linker_override where alias = ?", alias) > 0;
  }

  private void update(String sql, Object[] texts) {
    jdbc.update(connection -> {
      PreparedStatement statement = connection.prepareStatement(sql);
      statement.setArray(1, text(connection, texts));
      return statement;
    });
  }

  private static <T> String[] column(Collection<T> rows, Function<T, @Nullable String> value) {
    return rows.stream().map(value).toArray(String[]::new);
  }

  static Array text(Connection connection, @Nullable Object[] values) throws SQLException {
    return connection.createArrayOf("text", values);
  }
}
